#include "fs/cli/busy.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <climits>
#include <filesystem>
#include <fstream>

#include "fs/cli/mount_point.h"
#include "fs/cli/output.h"

namespace varve {
namespace {

namespace stdfs = std::filesystem;

constexpr size_t kShownMax = 5;

bool LinkLeadsInto(const std::string& link, const std::string& mount_point) {
  std::array<char, PATH_MAX> target;
  const ssize_t size = readlink(link.c_str(), target.data(), target.size());
  return size > 0 && LiesIn({target.data(), static_cast<size_t>(size)}, mount_point);
}

bool AnyLinkLeadsInto(const std::string& folder, const std::string& mount_point) {
  std::error_code error;
  for (stdfs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (LinkLeadsInto(entry->path(), mount_point)) return true;
  }
  return false;
}

bool Uses(const std::string& process, const std::string& mount_point) {
  for (const char* const name : {"/cwd", "/root", "/exe"}) {
    if (LinkLeadsInto(process + name, mount_point)) return true;
  }
  return AnyLinkLeadsInto(process + "/fd", mount_point) ||
         AnyLinkLeadsInto(process + "/map_files", mount_point);
}

}  // namespace

std::string DescribeUsers(const std::string& mount_point) {
  std::string users;
  size_t count = 0;
  std::error_code error;
  for (stdfs::directory_iterator entry("/proc", error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string pid = entry->path().filename();
    if (!std::all_of(pid.begin(), pid.end(), [](unsigned char c) { return std::isdigit(c); })) {
      continue;
    }
    if (!Uses(entry->path(), mount_point)) continue;
    if (++count > kShownMax) continue;
    std::ifstream name_file(entry->path() / "comm");
    std::string name;
    std::getline(name_file, name);
    users += fmt::format("{} {} (process {})", users.empty() ? " by" : ",", Printable(name), pid);
  }
  if (count > kShownMax) users += fmt::format(" and {} more", count - kShownMax);
  return "is in use" + users;
}

}  // namespace varve
