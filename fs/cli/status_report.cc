#include "fs/cli/status_report.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "fs/cli/output.h"

namespace varve {
namespace {

constexpr const char* kMountRemedy = "mount a store with: varve mount STORE MOUNTPOINT";

}  // namespace

Result<StatusReport> StatusReport::Read(const Mount& mount) {
  const std::string path = mount.root + "/.varve/status";
  errno = 0;
  std::ifstream file(path);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file.is_open() || file.bad() || text.empty()) {
    const int os_errno = errno;
    if (os_errno == ENOTCONN || os_errno == ECONNABORTED) {
      return Status(Code::kNotFound,
                    fmt::format("the daemon of {0} is gone; nothing that was acknowledged is lost. "
                                "Mount it again with: varve mount {1} {0}",
                                Printable(mount.root), Printable(mount.store)));
    }
    return Status::Errno(os_errno == 0 ? EIO : os_errno,
                         fmt::format("cannot read {}", Printable(path)));
  }
  return Parse(std::move(text));
}

Result<StatusReport> StatusReport::Parse(std::string json) {
  const nlohmann::json parsed = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) {
    return Status(Code::kCorrupt, "the status of the mount is not what this program understands");
  }
  StatusReport report;
  report.json_ = std::move(json);
  const nlohmann::json flat = parsed.flatten();
  for (const auto& [path, value] : flat.items()) {
    report.values_[path] = value.is_string() ? value.get<std::string>() : value.dump();
  }
  return report;
}

uint64_t StatusReport::Number(const std::string& path) const {
  return std::strtoull(Text(path).c_str(), nullptr, 10);
}

double StatusReport::Real(const std::string& path) const {
  return std::strtod(Text(path).c_str(), nullptr);
}

bool StatusReport::Flag(const std::string& path) const { return Text(path) == "true"; }

std::string StatusReport::Text(const std::string& path) const {
  const auto found = values_.find("/" + path);
  return found == values_.end() || found->second == "null" ? "" : found->second;
}

std::vector<std::string> StatusReport::Below(const std::string& path) const {
  const std::string prefix = "/" + path + "/";
  std::vector<std::string> paths;
  for (auto it = values_.lower_bound(prefix); it != values_.end(); ++it) {
    if (!it->first.starts_with(prefix)) break;
    paths.push_back(it->first.substr(1));
  }
  return paths;
}

Result<Mount> ChooseMount(const std::string& path) {
  const Result<MountedPath> found = FindMount(path.empty() ? "." : path);
  if (found.ok()) return found->mount;
  const std::vector<Mount> mounts = ListMounts();
  if (path.empty()) {
    if (mounts.size() == 1) return mounts.front();
    if (mounts.empty()) {
      return Status(Code::kNotFound, fmt::format("no VarveFS store is mounted; {}", kMountRemedy));
    }
    std::string roots;
    for (const Mount& mount : mounts) roots += "\n  " + Printable(mount.root);
    return Status(Code::kNotFound, "several stores are mounted; say which:" + roots);
  }
  const std::string absolute = AbsolutePath(path);
  for (const Mount& mount : mounts) {
    if (mount.store == absolute) return mount;
  }
  return Status(Code::kNotFound, fmt::format("{}; {}", found.status().context(), kMountRemedy));
}

}  // namespace varve
