#include "fs/cli/output.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

#include "store/base/check.h"
#include "store/base/clock.h"

namespace varve {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr int64_t kQuietNs = 2 * kNsPerSecond;  // shorter work shows no bar
constexpr int64_t kRedrawNs = kNsPerSecond / 10;

size_t TerminalColumns() {
  struct winsize size {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

// Bytes of UTF-8 that start a character: as wide as the text, near enough.
size_t Width(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

}  // namespace

void PrintError(std::string_view sentence) { fmt::print(stderr, "varve: {}\n", sentence); }
void PrintNote(std::string_view sentence) { fmt::print(stderr, "varve: {}\n", sentence); }

std::string HumanSize(uint64_t bytes) {
  constexpr std::array<std::string_view, 7> kUnits = {"B",   "KiB", "MiB", "GiB",
                                                      "TiB", "PiB", "EiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  size_t unit = 0;
  double value = static_cast<double>(bytes);
  // 1023.95 would be printed as 1024.0 of the smaller unit.
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return value < 10 ? fmt::format("{:.1f} {}", value, kUnits[unit])
                    : fmt::format("{:.0f} {}", value, kUnits[unit]);
}

std::string HumanDuration(int64_t duration_ns) {
  const double seconds = static_cast<double>(duration_ns) / static_cast<double>(kNsPerSecond);
  if (seconds < 10) return fmt::format("{:.1f} s", seconds);
  if (seconds < 100) return fmt::format("{:.0f} s", seconds);
  const int64_t whole = duration_ns / kNsPerSecond;
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

Result<uint64_t> ParseSize(std::string_view text) {
  const Status invalid(Code::kInvalid,
                       fmt::format("'{}' is no size; write it like 512M or 20G", Printable(text)));
  const size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::string number(text.substr(0, digits));
  char* end = nullptr;
  const double value = std::strtod(number.c_str(), &end);
  if (number.empty() || *end != '\0') return invalid;

  std::string_view unit = text.substr(digits);
  constexpr std::string_view kPrefixes = "KMGTPE";
  double factor = 1;
  if (!unit.empty() && unit != "B") {
    const size_t power = kPrefixes.find(static_cast<char>(std::toupper(unit.front())));
    unit.remove_prefix(1);
    if (power == std::string_view::npos || !(unit.empty() || unit == "iB" || unit == "B")) {
      return invalid;
    }
    for (size_t i = 0; i <= power; ++i) factor *= 1024;
  }
  if (value * factor >= 9.2e18) return invalid;
  return static_cast<uint64_t>(value * factor);
}

std::string Printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

void Table::AddRow(std::vector<std::string> cells) {
  CHECK(cells.size() == columns_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::Render() const {
  std::vector<size_t> widths;
  for (const Column& column : columns_) widths.push_back(Width(column.title));
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Width(row[i]));
  }
  std::string out;
  const auto append = [&](size_t i, const std::string& cell) {
    const std::string padding(widths[i] - Width(cell), ' ');
    const bool last = i + 1 == columns_.size();
    if (columns_[i].align == Align::kRight) {
      out += padding + cell;
    } else {
      out += last ? cell : cell + padding;
    }
    out += last ? "\n" : "  ";
  };
  for (size_t i = 0; i < columns_.size(); ++i) append(i, columns_[i].title);
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) append(i, row[i]);
  }
  return out;
}

ProgressBar::ProgressBar(std::string what)
    : what_(std::move(what)),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_ns_(SystemClock().MonotonicNs()) {}

ProgressBar::~ProgressBar() {
  if (drawn_ns_ != 0) fmt::print(stderr, "\r\x1b[K");
}

void ProgressBar::Update(uint64_t done, uint64_t total, std::string_view detail) {
  if (!terminal_) return;
  const int64_t now_ns = SystemClock().MonotonicNs();
  if (now_ns - start_ns_ < kQuietNs || now_ns - drawn_ns_ < kRedrawNs) return;
  drawn_ns_ = now_ns;
  constexpr size_t kBarColumns = 24;
  const double share =
      total == 0 ? 0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  const auto filled = static_cast<size_t>(share * static_cast<double>(kBarColumns));
  std::string line = fmt::format("{} [{}{}] {:3.0f} %  {}", what_, std::string(filled, '#'),
                                 std::string(kBarColumns - filled, '.'), share * 100, detail);
  line.resize(std::min(line.size(), TerminalColumns() - 1));
  fmt::print(stderr, "\r{}\x1b[K", line);
  std::fflush(stderr);
}

}  // namespace varve
