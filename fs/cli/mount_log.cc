#include "fs/cli/mount_log.h"

#include <unistd.h>

#include "store/base/log.h"

namespace varve {
namespace {

void Start(const MountRequest& request, const std::string& file) {
  LogOptions options;
  options.standard_error = request.foreground;
  options.file = file;
  options.syslog = true;
  const Status with_file = InitLog(options);
  if (with_file.ok()) return;
  options.file.clear();
  static_cast<void>(InitLog(options));  // without a file it cannot fail
  LogWarning("logging without a file: {}", with_file);
}

}  // namespace

std::string MountLogPath(const MountRequest& request) {
  return request.log_path.empty() ? request.store_path + "/varve.log" : request.log_path;
}

void StartMountLog(const MountRequest& request) { Start(request, MountLogPath(request)); }

void ContinueMountLog(const MountRequest& request) {
  const std::string path = MountLogPath(request);
  Start(request, access(path.c_str(), F_OK) == 0 ? path : "");
}

}  // namespace varve
