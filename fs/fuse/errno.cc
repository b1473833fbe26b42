#include "fs/fuse/errno.h"

#include <cerrno>

namespace varve {
namespace {

int FromCode(Code code) {
  switch (code) {
    case Code::kOk:
      return 0;
    case Code::kNotFound:
      return ENOENT;
    case Code::kExists:
      return EEXIST;
    case Code::kInvalid:
      return EINVAL;
    case Code::kNoSpace:
      return ENOSPC;
    case Code::kReadOnly:
      return EROFS;
    case Code::kBusy:
      return EBUSY;
    case Code::kUnsupported:
      return EOPNOTSUPP;
    case Code::kIo:
    case Code::kCorrupt:
    case Code::kErrno:
      return EIO;
  }
  return EIO;
}

}  // namespace

int ToErrno(const Status& status) {
  if (status.ok()) return 0;
  const int os_errno = status.os_errno() > 0 ? status.os_errno() : FromCode(status.code());
  return os_errno == ENOSYS ? EOPNOTSUPP : os_errno;
}

}  // namespace varve
