#include "store/base/result.h"

#include <cstring>

namespace varve {
namespace {

Code CodeOf(int os_errno) {
  switch (os_errno) {
    case 0:
      return Code::kOk;
    case ENOENT:
      return Code::kNotFound;
    case EEXIST:
      return Code::kExists;
    case EINVAL:
      return Code::kInvalid;
    case ENOSPC:
    case EDQUOT:
      return Code::kNoSpace;
    case EIO:
      return Code::kIo;
    case EROFS:
      return Code::kReadOnly;
    case EBUSY:
    case EAGAIN:
      return Code::kBusy;
    case ENOSYS:
    case EOPNOTSUPP:
      return Code::kUnsupported;
    default:
      return Code::kErrno;
  }
}

}  // namespace

std::string_view CodeName(Code code) {
  switch (code) {
    case Code::kOk:
      return "ok";
    case Code::kNotFound:
      return "not found";
    case Code::kExists:
      return "exists";
    case Code::kInvalid:
      return "invalid";
    case Code::kNoSpace:
      return "no space";
    case Code::kIo:
      return "I/O error";
    case Code::kCorrupt:
      return "corrupt";
    case Code::kReadOnly:
      return "read-only";
    case Code::kBusy:
      return "busy";
    case Code::kUnsupported:
      return "unsupported";
    case Code::kErrno:
      return "system error";
  }
  return "unknown";
}

Status Status::Errno(int os_errno) {
  CHECK(os_errno > 0);
  Status status(CodeOf(os_errno));
  status.os_errno_ = os_errno;
  return status;
}

Status Status::Errno(int os_errno, std::string context) {
  Status status = Errno(os_errno);
  status.context_ = std::make_unique<std::string>(std::move(context));
  return status;
}

Status& Status::operator=(const Status& other) {
  if (this == &other) return *this;
  code_ = other.code_;
  os_errno_ = other.os_errno_;
  context_ = other.context_ ? std::make_unique<std::string>(*other.context_) : nullptr;
  return *this;
}

std::string Status::ToString() const {
  std::string text(CodeName(code_));
  if (context_) text += ": " + *context_;
  if (os_errno_ != 0) text += std::string(" (") + std::strerror(os_errno_) + ")";
  return text;
}

}  // namespace varve
