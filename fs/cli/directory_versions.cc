#include "fs/cli/directory_versions.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "fs/cli/mount_point.h"
#include "fs/cli/output.h"
#include "fs/cli/time_text.h"
#include "fs/cli/version_list.h"

namespace varve {
namespace {

// "v7" -> 7; nothing for pins and `latest`.
std::optional<uint32_t> ParseNumber(const std::string& name) {
  uint32_t number = 0;
  const char* end = name.data() + name.size();
  if (name.size() < 2 || name[0] != 'v') return std::nullopt;
  const auto parsed = std::from_chars(name.data() + 1, end, number);
  if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  return number;
}

struct timespec ParseSeconds(const std::string& text) {
  struct timespec time {};
  char* fraction = nullptr;
  time.tv_sec = std::strtoll(text.c_str(), &fraction, 10);
  time.tv_nsec = *fraction == '.' ? std::strtol(fraction + 1, nullptr, 10) : 0;
  return time;
}

DirectoryVersionInfo Describe(uint32_t number, std::string path) {
  DirectoryVersionInfo version;
  version.number = number;
  version.path = std::move(path);
  version.capture_time =
      ParseSeconds(ReadAttribute(version.path, "user.varve.captured").value_or("0"));
  version.reason = ReadAttribute(version.path, "user.varve.reason").value_or("");
  if (const auto complete = ReadAttribute(version.path, "user.varve.complete"))
    version.complete = *complete == "1";
  if (version.complete == false)
    version.incomplete = ReadAttribute(version.path, "user.varve.incomplete").value_or("");
  return version;
}

std::string Complete(const DirectoryVersionInfo& version) {
  if (!version.complete) return "-";
  return *version.complete ? "yes" : "NO: " + Printable(version.incomplete);
}

std::string Pins(const DirectoryVersionInfo& version) {
  std::string pins;
  for (const std::string& pin : version.pins) pins += (pins.empty() ? "" : " ") + Printable(pin);
  return pins;
}

}  // namespace

bool IsDirectory(const std::string& path) {
  struct stat stat {};
  return ::stat(path.c_str(), &stat) == 0 && S_ISDIR(stat.st_mode);
}

Result<std::vector<DirectoryVersionInfo>> ListDirectoryVersions(const std::string& path) {
  ASSIGN_OR_RETURN(const MountedPath found, FindMount(path));
  const std::string history = AbsolutePath(path) + "/.varve/history";
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(history));
  std::vector<DirectoryVersionInfo> versions;
  for (const std::string& name : names)
    if (const auto number = ParseNumber(name))
      versions.push_back(Describe(*number, history + "/" + name));
  if (versions.empty()) {
    return Status(Code::kInvalid, fmt::format("{0} has no version yet; it is captured when it was "
                                              "not changed for a moment, or now with: mkdir "
                                              "{0}/.varve/history/NAME",
                                              Printable(path)));
  }
  std::sort(versions.begin(), versions.end(),
            [](const auto& a, const auto& b) { return a.number < b.number; });
  for (const std::string& name : names) {
    if (ParseNumber(name) || name == "latest") continue;
    const auto text = ReadAttribute(history + "/" + name, "user.varve.version");
    const uint32_t number = text ? ParseNumber("v" + *text).value_or(0) : 0;
    const auto pinned = std::find_if(versions.begin(), versions.end(),
                                     [&](const auto& version) { return version.number == number; });
    if (pinned != versions.end()) pinned->pins.push_back(name);
  }
  return versions;
}

std::string DescribeDirectoryVersions(const std::vector<DirectoryVersionInfo>& versions) {
  using Align = Table::Align;
  Table table({{"VERSION", Align::kRight},
               {"CAPTURED", Align::kLeft},
               {"WHY", Align::kLeft},
               {"COMPLETE", Align::kLeft},
               {"PINS", Align::kLeft}});
  for (const DirectoryVersionInfo& version : versions) {
    table.AddRow({"v" + std::to_string(version.number), FormatTime(version.capture_time),
                  Printable(version.reason), Complete(version), Pins(version)});
  }
  return table.Render();
}

std::string DirectoryVersionsJson(const std::string& path,
                                  const std::vector<DirectoryVersionInfo>& versions) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const DirectoryVersionInfo& version : versions) {
    nlohmann::ordered_json one = {{"version", version.number},
                                  {"path", version.path},
                                  {"captured", FormatTimeUtc(version.capture_time)},
                                  {"reason", version.reason},
                                  {"pins", version.pins}};
    if (version.complete) one["complete"] = *version.complete;
    if (!version.incomplete.empty()) one["incomplete"] = version.incomplete;
    list.push_back(std::move(one));
  }
  const nlohmann::ordered_json all = {{"directory", AbsolutePath(path)},
                                      {"versions", std::move(list)}};
  // A name need not be UTF-8; what is not becomes U+FFFD.
  return all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace varve
