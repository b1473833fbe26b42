// Errors as values: Status, Result<T> and the two macros that pass them on.
//
// A Status is either ok or carries a Code that callers branch on, the errno of
// the failing system call when there was one, and one sentence for the log.
// An ok Status and an error without a sentence cost no allocation, so a failed
// lookup is as cheap as a successful one.
//
// Threads: values; no shared state.
#pragma once

#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "store/base/check.h"

namespace varve {

enum class Code : unsigned char {
  kOk = 0,
  kNotFound,     // the named thing does not exist
  kExists,       // it exists already
  kInvalid,      // the caller's argument makes no sense
  kNoSpace,      // out of space; promises that nothing was changed
  kIo,           // the operating system failed
  kCorrupt,      // a checksum or a format rule failed: the bytes are wrong
  kReadOnly,     // fenced, or read-only by nature
  kBusy,         // held by somebody else; may succeed later
  kUnsupported,  // not available here
  kErrno,        // none of the above: os_errno() says what
};

// "not found", "corrupt", …
std::string_view CodeName(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;  // ok
  explicit Status(Code code) : code_(code) {}
  Status(Code code, std::string context)
      : code_(code), context_(std::make_unique<std::string>(std::move(context))) {}

  // An error of the operating system. The code follows from the errno.
  static Status Errno(int os_errno);
  static Status Errno(int os_errno, std::string context);

  Status(const Status& other) { *this = other; }
  Status& operator=(const Status& other);
  Status(Status&&) = default;
  Status& operator=(Status&&) = default;

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  // 0 when no system call was involved.
  int os_errno() const { return os_errno_; }
  std::string_view context() const { return context_ ? std::string_view(*context_) : ""; }
  // "corrupt: pack 7 …", for people.
  std::string ToString() const;

 private:
  Code code_ = Code::kOk;
  int os_errno_ = 0;
  std::unique_ptr<std::string> context_;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT: implicit by design
  Result(Status status) : status_(std::move(status)) {  // NOLINT: implicit by design
    CHECK(!status_.ok());
  }

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }

  // REQUIRES: ok().
  T& value() & {
    CHECK(ok());
    return *value_;
  }
  const T& value() const& {
    CHECK(ok());
    return *value_;
  }
  T&& value() && {
    CHECK(ok());
    return *std::move(value_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  // By value, so that `for (… : *disk.List(path))` iterates over what still exists.
  T operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace varve

#define RETURN_IF_ERROR(expression)                                                              \
  do {                                                                                           \
    if (::varve::Status varve_status_ = (expression); !varve_status_.ok()) return varve_status_; \
  } while (false)

#define VARVE_CONCAT_INNER_(a, b) a##b
#define VARVE_CONCAT_(a, b) VARVE_CONCAT_INNER_(a, b)

// ASSIGN_OR_RETURN(auto file, disk.Open(…));
#define ASSIGN_OR_RETURN(declaration, expression)             \
  auto VARVE_CONCAT_(varve_result_, __LINE__) = (expression); \
  if (!VARVE_CONCAT_(varve_result_, __LINE__).ok())           \
    return VARVE_CONCAT_(varve_result_, __LINE__).status();   \
  declaration = std::move(VARVE_CONCAT_(varve_result_, __LINE__)).value()
