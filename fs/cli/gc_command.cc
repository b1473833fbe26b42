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

namespace varve {
namespace {

struct GcRequest {
  std::string path = ".";
  bool dry_run = false;
  bool hot = false;
  bool json = false;
};

uint64_t Number(const nlohmann::json& json, const char* name) {
  return json.is_object() ? json.value(name, uint64_t{0}) : 0;
}

std::string Describe(const nlohmann::json& report, bool dry_run) {
  const uint64_t versions = Number(report, "file_versions") + Number(report, "directory_versions");
  std::string text =
      fmt::format("{} {} versions, {} of them of directories", dry_run ? "would drop" : "dropped",
                  versions, Number(report, "directory_versions"));
  text += fmt::format("; {} contents of {}", Number(report, "contents"),
                      HumanSize(Number(report, "content_bytes")));
  if (dry_run) {
    return text + fmt::format("; up to {} in packs", HumanSize(Number(report, "chunk_bytes")));
  }
  text += fmt::format("; {} packs removed, {} freed", Number(report, "packs"),
                      HumanSize(Number(report, "freed_bytes")));
  if (Number(report, "recoded_chunks") > 0)
    text += fmt::format("; {} of tensors coded as differences, in {}",
                        HumanSize(Number(report, "recoded_bytes_before")),
                        HumanSize(Number(report, "recoded_bytes_after")));
  if (const uint64_t kept = Number(report, "versions_for_room"))
    text += fmt::format("; {} of the versions were kept by a rule, but little room is left", kept);
  if (const uint64_t hot = Number(report, "hot_bytes"))
    text += fmt::format("; {} of hot copies", HumanSize(hot));
  return text;
}

ExitCode RunGc(const GcRequest& request) {
  const Result<MountedPath> found = FindMount(request.path);
  if (!found.ok()) {
    PrintError(found.status().context());
    return kNotMounted;
  }
  const std::string& root = found->mount.root;
  std::string options = "thorough";
  if (request.dry_run) options += ",dry-run";
  if (request.hot) options += ",hot";
  if (setxattr(root.c_str(), "user.varve.gc", options.data(), options.size(), 0) != 0) {
    PrintError(errno == EPERM || errno == EACCES
                   ? fmt::format("only root and who mounted {} may collect", Printable(root))
                   : fmt::format("{}: {}", Printable(root), std::strerror(errno)));
    return kFailed;
  }
  const Result<StatusReport> status = AwaitCollection(found->mount, "collecting");
  if (!status.ok()) return Fail(status.status());
  const nlohmann::json report = nlohmann::json::parse(status->json())["collection"]["last"];
  const std::string error = report.value("error", "");
  if (request.json) {
    fmt::print("{}\n", report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  } else if (error.empty()) {
    fmt::print("{}: {}\n", Printable(root), Describe(report, request.dry_run));
  }
  if (error.empty()) return kDone;
  PrintError(fmt::format("{}: the collection ended early: {}", Printable(root), error));
  return kFailed;
}

}  // namespace

void AddGcCommand(CLI::App& root, int* exit_code) {
  auto request = std::make_shared<GcRequest>();
  CLI::App* const command =
      root.add_subcommand("gc", "Free the room of versions that no rule keeps; waits for it");
  command->add_flag("-n,--dry-run", request->dry_run, "Only say what would go");
  command->add_flag("--hot", request->hot, "Drop the hot copies of stored files, too");
  command->add_flag("--json", request->json, "Say what was done as JSON");
  command->add_option("PATH", request->path, "Anything in the mount; here, if it is left out")
      ->type_name("");
  command->callback([request, exit_code] { *exit_code = RunGc(*request); });
}

}  // namespace varve
