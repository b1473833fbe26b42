// The log: one line per event that an operator may want to know.
//
// There is one log per process, not per mount, and it is not passed around: it
// is the registry that spdlog keeps anyway, and everything that can fail may
// want to say so, down to destructors. main() calls InitLog() once, after it has
// become a daemon; before that, and in tests, lines go to standard error.
//
//   LogWarning("pack {} was cut off at {}: {}", path, offset, status);
//
// A placeholder is "{}" or one of fmt's with a format, "{:x}". How many there
// are is checked when compiling. Control characters in text are shown escaped,
// so a file's name cannot forge a line.
//
// Threads: all functions may be called concurrently, InitLog() too.
// Errors:  logging never fails; a line that cannot be written is lost.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include "store/base/result.h"

namespace varve {

enum class LogLevel : unsigned char { kDebug, kInfo, kWarning, kError };

struct LogOptions {
  // The least important lines to keep.
  LogLevel level = LogLevel::kInfo;
  // Where lines go, any number of these. The file is appended to; at 4 MiB it is
  // renamed to NAME.1.EXT, and three such are kept.
  bool standard_error = true;
  std::string file = {};
  bool syslog = false;
};

// Replaces what an earlier call set up. Fails with kErrno or kIo, and then lines
// go where they went before, if the file cannot be opened.
Status InitLog(const LogOptions& options);

// One argument of a line; borrows text until the call returns.
class LogValue {
 public:
  template <std::integral T>
  LogValue(T value) {  // NOLINT: implicit by design
    if constexpr (std::same_as<T, bool>) {
      value_ = value;
    } else if constexpr (std::signed_integral<T>) {
      value_ = static_cast<int64_t>(value);
    } else {
      value_ = static_cast<uint64_t>(value);
    }
  }
  LogValue(double value) : value_(value) {}                              // NOLINT: implicit
  LogValue(std::string_view text) : value_(text) {}                      // NOLINT: implicit
  LogValue(const std::string& text) : value_(std::string_view(text)) {}  // NOLINT: implicit
  LogValue(const char* text) : value_(std::string_view(text)) {}         // NOLINT: implicit
  LogValue(const Status& status) : value_(status.ToString()) {}          // NOLINT: implicit

  using Variant = std::variant<bool, int64_t, uint64_t, double, std::string_view, std::string>;
  const Variant& value() const { return value_; }

 private:
  Variant value_;
};

namespace log_internal {

// Not constexpr: reaching it makes the format fail to compile.
inline void WrongNumberOfArguments() {}

template <typename... Args>
class Format {
 public:
  consteval Format(const char* text) : text_(text) {  // NOLINT: implicit by design
    size_t placeholders = 0;
    for (size_t i = 0; i < text_.size(); ++i) {
      if (text_[i] != '{') continue;
      if (i + 1 < text_.size() && text_[i + 1] == '{') {
        ++i;
      } else {
        ++placeholders;
      }
    }
    if (placeholders != sizeof...(Args)) WrongNumberOfArguments();
  }
  std::string_view text() const { return text_; }

 private:
  std::string_view text_;
};

void Write(LogLevel level, std::string_view format,
           std::initializer_list<LogValue> values) noexcept;

}  // namespace log_internal

template <typename... Args>
void LogDebug(log_internal::Format<std::type_identity_t<Args>...> format, const Args&... args) {
  log_internal::Write(LogLevel::kDebug, format.text(), {LogValue(args)...});
}
// Something an operator may want to know.
template <typename... Args>
void LogInfo(log_internal::Format<std::type_identity_t<Args>...> format, const Args&... args) {
  log_internal::Write(LogLevel::kInfo, format.text(), {LogValue(args)...});
}
// Something is not as it should be; nothing is lost.
template <typename... Args>
void LogWarning(log_internal::Format<std::type_identity_t<Args>...> format, const Args&... args) {
  log_internal::Write(LogLevel::kWarning, format.text(), {LogValue(args)...});
}
// Something failed that a user will notice.
template <typename... Args>
void LogError(log_internal::Format<std::type_identity_t<Args>...> format, const Args&... args) {
  log_internal::Write(LogLevel::kError, format.text(), {LogValue(args)...});
}

// The line as it is written, without its time and level. For tests.
std::string FormatLogLine(std::string_view format, std::initializer_list<LogValue> values);

}  // namespace varve
