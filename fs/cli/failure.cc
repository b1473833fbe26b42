#include "fs/cli/failure.h"

#include <fmt/format.h>

#include <cstring>

#include "fs/cli/output.h"

namespace varve {

ExitCode Fail(const Status& status) {
  std::string sentence(status.context());
  if (status.os_errno() != 0) {
    sentence += fmt::format("{}{}", sentence.empty() ? "" : ": ", std::strerror(status.os_errno()));
  }
  PrintError(sentence.empty() ? status.ToString() : sentence);
  if (status.os_errno() != 0) return kFailed;
  switch (status.code()) {
    case Code::kNotFound:
      return kNotMounted;
    case Code::kCorrupt:
      return kDamaged;
    case Code::kBusy:
      return kIncomplete;
    default:
      return kFailed;
  }
}

}  // namespace varve
