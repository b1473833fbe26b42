#include <fmt/format.h>
#include <sys/xattr.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "fs/cli/await_run.h"
#include "fs/cli/commands.h"
#include "fs/cli/exit_code.h"
#include "fs/cli/failure.h"
#include "fs/cli/mount_point.h"
#include "fs/cli/output.h"
#include "fs/cli/report_attribute.h"

namespace varve {
namespace {

constexpr size_t kShownMax = 20;
constexpr const char* kAttribute = "user.varve.purge";

struct PurgeOptions {
  std::string path;
  bool dry_run = false;
  bool json = false;
};

uint64_t Number(const nlohmann::json& report, const char* name) {
  return report.value(name, uint64_t{0});
}

std::string Describe(const Mount& mount, const nlohmann::json& report) {
  const bool dry_run = report.value("dry_run", false);
  std::string text;
  uint64_t shown = 0;
  for (const nlohmann::json& item : report.value("paths", nlohmann::json::array())) {
    if (!item.is_string() || shown == kShownMax) break;
    const std::string path = item.get<std::string>();
    text += fmt::format("still holds some of the same bytes: {}\n",
                        Printable(path.starts_with('/') ? mount.root + path : path));
    ++shown;
  }
  const uint64_t users = Number(report, "users");
  if (users > shown)
    text += fmt::format("and {} more; --json says up to 40 KiB of them\n", users - shown);
  text += fmt::format("{}: {} {} contents of {} and {} versions that named them\n",
                      Printable(mount.root + report.value("path", "")),
                      dry_run ? "would purge" : "purged", Number(report, "contents"),
                      HumanSize(Number(report, "content_bytes")), Number(report, "versions"));
  if (const uint64_t live = Number(report, "live_contents"))
    text += fmt::format(
        "{} contents stay, because files or clones that are there now show them: remove those, "
        "then purge again\n",
        live);
  if (const uint64_t busy = Number(report, "busy_contents"))
    text += fmt::format(
        "{} contents stay, because they are open or not stored yet: purge again when they are "
        "not\n",
        busy);
  if (const uint64_t packs = Number(report, "packs_left"))
    text += fmt::format("{} packs still have some of the bytes; the next varve gc empties them\n",
                        packs);
  return text;
}

ExitCode Run(const PurgeOptions& options) {
  const Result<MountedPath> found = FindMount(options.path);
  if (!found.ok()) return Fail(found.status());
  const Mount& mount = found->mount;
  const std::string& relative = found->relative;
  if (relative.empty()) {
    PrintError(fmt::format("{} is the whole mount: name a file or a directory in it",
                           Printable(mount.root)));
    return kUsage;
  }
  const size_t slash = relative.rfind('/');
  const std::string directory =
      slash == relative.npos ? mount.root : mount.root + "/" + relative.substr(0, slash);
  const std::string name = slash == relative.npos ? relative : relative.substr(slash + 1);
  const std::string ask = (options.dry_run ? "dry-run/" : "") + name;
  if (setxattr(directory.c_str(), kAttribute, ask.data(), ask.size(), 0) != 0) {
    PrintError(errno == EPERM || errno == EACCES
                   ? fmt::format("only root and who mounted {} may purge", Printable(mount.root))
               : errno == ENOENT
                   ? fmt::format("{} is gone itself: purge it, and all that was in it goes",
                                 Printable(directory))
                   : fmt::format("{}: {}", Printable(directory), std::strerror(errno)));
    return kFailed;
  }
  const Status awaited = AwaitCollection(mount, "purging").status();
  if (!awaited.ok()) return Fail(awaited);
  const Result<std::string> read = ReadReportAttribute(mount, kAttribute);
  if (!read.ok()) return Fail(read.status());
  const nlohmann::json report = nlohmann::json::parse(*read);
  const auto text = [](const nlohmann::json& json) {  // names need not be UTF-8
    return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  };
  if (text(report["path"]) != text("/" + relative)) {
    PrintError(
        fmt::format("{}: another purge has come between; ask again", Printable(options.path)));
    return kFailed;
  }
  if (options.json)
    fmt::print("{}\n", report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  const std::string error = report.value("error", "");
  if (!error.empty()) {
    PrintError(fmt::format("{}: {}", Printable(options.path), Printable(error)));
    return kFailed;
  }
  if (!options.json) fmt::print("{}", Describe(mount, report));
  const bool all =
      options.dry_run || Number(report, "busy_contents") + Number(report, "packs_left") == 0;
  return all ? kDone : kFailed;
}

}  // namespace

void AddPurgeCommand(CLI::App& root, int* exit_code) {
  auto options = std::make_shared<PurgeOptions>();
  CLI::App* const command = root.add_subcommand(
      "purge", "Remove a file or directory from all history, pins included; what is live stays");
  command->add_flag("-n,--dry-run", options->dry_run, "Only say what would go");
  command->add_flag("--json", options->json, "Print JSON (docs/SEMANTICS.md)");
  command->add_option("PATH", options->path, "A file or directory, also one that was removed")
      ->required()
      ->type_name("");
  command->callback([options, exit_code] { *exit_code = Run(*options); });
}

}  // namespace varve
