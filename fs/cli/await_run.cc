#include "fs/cli/await_run.h"

#include <unistd.h>

namespace varve {
namespace {

constexpr useconds_t kPollUs = 50'000;

}  // namespace

Result<StatusReport> AwaitRun(const Mount& mount, const std::string& section,
                              const std::function<void(const StatusReport&)>& show) {
  ASSIGN_OR_RETURN(StatusReport now, StatusReport::Read(mount));
  const uint64_t daemon = now.Number("daemon/pid");
  const uint64_t asked = now.Number(section + "/asked");
  while (now.Number(section + "/finished") < asked) {
    usleep(kPollUs);
    ASSIGN_OR_RETURN(now, StatusReport::Read(mount));
    if (now.Number("daemon/pid") != daemon)
      return Status(Code::kNotFound, "the daemon of " + Printable(mount.root) +
                                         " ended meanwhile, and another one is there; ask again");
    show(now);
  }
  return now;
}

Result<StatusReport> AwaitCollection(const Mount& mount, const std::string& what) {
  ProgressBar progress(what);
  return AwaitRun(mount, "collection", [&](const StatusReport& now) {
    progress.Update(0, 0, now.Text("collection/step"));
  });
}

}  // namespace varve
