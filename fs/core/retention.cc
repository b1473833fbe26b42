#include "fs/core/retention.h"

#include <algorithm>
#include <charconv>

namespace varve {
namespace {

constexpr int64_t kDaySeconds = 24 * 3600;

std::string_view Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\n") - begin + 1);
}

Status Wrong(std::string_view term) {
  return Status(Code::kInvalid, "'" + std::string(term) +
                                    "' is no rule of retention; there are last=N, days=N, every=N "
                                    "and none, with commas between them");
}

}  // namespace

RetentionRule RetentionRule::Default() {
  RetentionRule rule;
  rule.last_ = 32;
  rule.days_ = 7;
  return rule;
}

Result<RetentionRule> RetentionRule::Parse(std::string_view text) {
  RetentionRule rule;
  if (Trimmed(text) == "none") return rule;
  while (true) {
    const size_t comma = text.find(',');
    const std::string_view term = Trimmed(text.substr(0, comma));
    const size_t equals = term.find('=');
    if (equals == std::string_view::npos) return Wrong(term);
    const std::string_view name = Trimmed(term.substr(0, equals));
    const std::string_view value = Trimmed(term.substr(equals + 1));
    uint32_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size() || number == 0)
      return Wrong(term);
    if (name == "last") {
      rule.last_ = std::max(rule.last_, number);
    } else if (name == "days") {
      rule.days_ = std::max(rule.days_, number);
    } else if (name == "every") {
      rule.every_.push_back(number);
    } else {
      return Wrong(term);
    }
    if (comma == std::string_view::npos) return rule;
    text.remove_prefix(comma + 1);
  }
}

std::vector<bool> RetentionRule::Keeps(const std::vector<Candidate>& versions,
                                       int64_t now_s) const {
  std::vector<bool> kept(versions.size());
  const int64_t oldest_s = now_s - static_cast<int64_t>(days_) * kDaySeconds;
  for (size_t i = 0; i < versions.size(); ++i) {
    const Candidate& version = versions[i];
    kept[i] = versions.size() - i <= last_ || (days_ > 0 && version.captured_s >= oldest_s) ||
              std::any_of(every_.begin(), every_.end(),
                          [&](uint32_t every) { return version.number % every == 0; });
  }
  return kept;
}

}  // namespace varve
