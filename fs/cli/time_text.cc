#include "fs/cli/time_text.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <iterator>
#include <optional>

#include "fs/cli/output.h"

namespace varve {
namespace {

constexpr long kLastNs = 999'999'999;

std::string Strftime(const char* format, const struct tm& parts) {
  char text[64];
  const size_t size = std::strftime(text, sizeof(text), format, &parts);
  return std::string(text, size);
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// "10 min" of "10 min ago", in seconds.
std::optional<int64_t> ParseDuration(std::string_view text) {
  int64_t amount = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), amount);
  if (parsed.ec != std::errc() || amount < 0 || amount > 1'000'000'000) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(parsed.ptr - text.data()));
  const std::string_view unit = Trim(text);
  struct Unit {
    std::string_view name;
    int64_t seconds;
  };
  constexpr Unit kUnits[] = {{"s", 1},         {"sec", 1},      {"second", 1},   {"seconds", 1},
                             {"m", 60},        {"min", 60},     {"minute", 60},  {"minutes", 60},
                             {"h", 3600},      {"hour", 3600},  {"hours", 3600}, {"d", 86400},
                             {"day", 86400},   {"days", 86400}, {"w", 604800},   {"week", 604800},
                             {"weeks", 604800}};
  for (const Unit& known : kUnits) {
    if (known.name == unit) return amount * known.seconds;
  }
  return std::nullopt;
}

struct Format {
  const char* pattern;
  int64_t covers_seconds;  // how long what it names lasts
  bool today;
};

constexpr Format kFormats[] = {{"%Y-%m-%d %H:%M:%S", 1, false},
                               {"%Y-%m-%dT%H:%M:%S", 1, false},
                               {"%Y-%m-%d %H:%M", 60, false},
                               {"%Y-%m-%dT%H:%M", 60, false},
                               {"%Y-%m-%d", 86400, false},
                               {"%H:%M:%S", 1, true},
                               {"%H:%M", 60, true}};

std::optional<struct timespec> ParseCalendar(const std::string& text, const Format& format,
                                             bool utc, const struct timespec& now) {
  struct tm parts {};
  if (format.today) (utc ? gmtime_r : localtime_r)(&now.tv_sec, &parts);
  parts.tm_hour = parts.tm_min = parts.tm_sec = 0;
  const char* end = strptime(text.c_str(), format.pattern, &parts);
  if (end == nullptr || *end != '\0') return std::nullopt;
  parts.tm_isdst = -1;
  struct timespec time {};
  time.tv_sec = utc ? timegm(&parts) : mktime(&parts);
  time.tv_sec += format.covers_seconds - 1;
  time.tv_nsec = kLastNs;
  return time;
}

}  // namespace

std::string FormatTime(const struct timespec& time) {
  struct tm parts {};
  localtime_r(&time.tv_sec, &parts);
  return Strftime("%Y-%m-%d %H:%M:%S", parts);
}

std::string FormatTimeUtc(const struct timespec& time) {
  struct tm parts {};
  gmtime_r(&time.tv_sec, &parts);
  return fmt::format("{}.{:09}Z", Strftime("%Y-%m-%dT%H:%M:%S", parts), time.tv_nsec);
}

Result<struct timespec> ParseTime(std::string_view text, const struct timespec& now) {
  const std::string_view trimmed = Trim(text);
  constexpr std::string_view kAgo = "ago";
  struct timespec time = now;
  if (trimmed.ends_with(kAgo)) {
    const auto seconds = ParseDuration(Trim(trimmed.substr(0, trimmed.size() - kAgo.size())));
    if (seconds) {
      time.tv_sec -= *seconds;
      return time;
    }
  } else if (trimmed.starts_with('@')) {
    int64_t seconds = 0;
    const char* end = trimmed.data() + trimmed.size();
    const auto parsed = std::from_chars(trimmed.data() + 1, end, seconds);
    if (parsed.ec == std::errc() && parsed.ptr == end) {
      time.tv_sec = seconds;
      time.tv_nsec = kLastNs;
      return time;
    }
  } else {
    const bool utc = trimmed.ends_with('Z');
    const std::string calendar(trimmed.substr(0, trimmed.size() - (utc ? 1 : 0)));
    for (const Format& format : kFormats) {
      if (const auto parsed = ParseCalendar(calendar, format, utc, now)) return *parsed;
    }
  }
  return Status(Code::kInvalid,
                fmt::format("'{}' is no time; write it like '2026-03-01 14:05', '14:05', "
                            "'10 min ago' or '@SECONDS'",
                            Printable(text)));
}

}  // namespace varve
