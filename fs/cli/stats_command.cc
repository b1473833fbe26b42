#include "fs/cli/stats_command.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "fs/cli/commands.h"
#include "fs/cli/failure.h"
#include "fs/cli/output.h"
#include "fs/cli/status_report.h"
#include "fs/cli/version_list.h"

namespace varve {
namespace {

struct Options {
  std::string path;
  bool json = false;
};

Status AddVersions(const std::string& versions_path, VersionTotals* totals) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(versions_path));
  uint64_t versions = 0;
  for (const std::string& name : names) {
    struct stat stat {};
    if (!ParseVersionNumber(name)) continue;
    if (lstat((versions_path + "/" + name).c_str(), &stat) != 0) continue;  // dropped just now
    ++versions;
    totals->logical_bytes += static_cast<uint64_t>(stat.st_size);
  }
  totals->versions += versions;
  totals->files += versions > 0 ? 1 : 0;
  return Status();
}

std::string Json(const std::string& path, const VersionTotals& totals, const StatusReport& report) {
  nlohmann::ordered_json counters = nlohmann::ordered_json::object();
  constexpr std::string_view kPrefix = "counters/";
  for (const std::string& counter : report.Below("counters")) {
    counters[counter.substr(kPrefix.size())] = report.Number(counter);
  }
  const uint64_t logical_bytes = report.Number("savings/logical_bytes");
  const uint64_t stored_bytes = report.Number("savings/stored_bytes");
  const nlohmann::ordered_json all = {
      {"path", path},
      {"files", totals.files},
      {"versions", totals.versions},
      {"logical_bytes", totals.logical_bytes},
      {"store",
       {{"logical_bytes", logical_bytes},
        {"stored_bytes", stored_bytes},
        {"saved_bytes", logical_bytes - std::min(logical_bytes, stored_bytes)},
        {"ratio", report.Real("savings/ratio")},
        {"pack_bytes", report.Number("space/pack_bytes")},
        {"index_bytes", report.Number("space/index_bytes")},
        {"counters", counters}}}};
  return all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string Describe(const std::string& path, const VersionTotals& totals,
                     const StatusReport& report) {
  const uint64_t logical_bytes = report.Number("savings/logical_bytes");
  const uint64_t stored_bytes = report.Number("savings/stored_bytes");
  std::string text =
      fmt::format("{}: {} {} of {} {}, {} as written\n", Printable(path), totals.versions,
                  totals.versions == 1 ? "version" : "versions", totals.files,
                  totals.files == 1 ? "file" : "files", HumanSize(totals.logical_bytes));
  text += fmt::format("stored    {} as {} since the mount, {} saved: {:.2f} to 1\n",
                      HumanSize(logical_bytes), HumanSize(stored_bytes),
                      HumanSize(logical_bytes - std::min(logical_bytes, stored_bytes)),
                      report.Real("savings/ratio"));
  text +=
      fmt::format("on disk   packs {}, index {}\n", HumanSize(report.Number("space/pack_bytes")),
                  HumanSize(report.Number("space/index_bytes")));
  Table counters({{"COUNTER", Table::Align::kLeft}, {"VALUE", Table::Align::kRight}});
  const std::vector<std::string> paths = report.Below("counters");
  for (const std::string& counter : paths) {
    counters.AddRow({Printable(counter.substr(counter.find('/') + 1)), report.Text(counter)});
  }
  if (!paths.empty()) text += "\n" + counters.Render();
  return text;
}

ExitCode Run(const Options& options) {
  const Result<Mount> mount = ChooseMount(options.path);
  if (!mount.ok()) return Fail(mount.status());
  const Result<StatusReport> report = StatusReport::Read(*mount);
  if (!report.ok()) return Fail(report.status());
  const Result<MountedPath> inside = FindMount(options.path.empty() ? "." : options.path);
  const std::string path = inside.ok() && !options.path.empty() ? options.path : mount->root;
  const Result<VersionTotals> totals = SumVersions(path);
  if (!totals.ok()) return Fail(totals.status());
  fmt::print("{}", options.json ? Json(AbsolutePath(path), *totals, *report)
                                : Describe(AbsolutePath(path), *totals, *report));
  return kDone;
}

}  // namespace

Result<VersionTotals> SumVersions(const std::string& path) {
  const std::string absolute = AbsolutePath(path);
  VersionTotals totals;
  struct stat stat {};
  if (::stat(absolute.c_str(), &stat) == 0 && S_ISDIR(stat.st_mode)) {
    const std::string versions_path = absolute + "/.varve/versions";
    ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(versions_path));
    for (const std::string& name : names) {
      const Status added = AddVersions(versions_path + "/" + name, &totals);
      if (!added.ok() && added.os_errno() != ENOENT) return added;
    }
    return totals;
  }
  ASSIGN_OR_RETURN(const VersionedFile file, FindVersionedFile(path));
  const Status added = AddVersions(file.VersionsPath(), &totals);
  // ListVersions() knows the sentence for a file without versions.
  if (!added.ok() && added.os_errno() == ENOENT) return ListVersions(file).status();
  RETURN_IF_ERROR(added);
  return totals;
}

void AddStatsCommand(CLI::App& root, int* exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root.add_subcommand("stats", "Say how much space history takes and saves");
  command->add_option("PATH", options->path,
                      "A file, or a directory for the files directly in it; without it the mount");
  command->add_flag("--json", options->json, "Print JSON (docs/SEMANTICS.md)");
  command->footer(
      "Examples:\n"
      "  varve stats /mnt/runs/run1\n"
      "  varve stats --json /mnt/runs/run1/last.pt | jq .store.ratio\n"
      "Sharing has no borders in a store, so what is stored is said for the store as a whole.\n"
      "Exit status: 0 done, 1 failed, 3 not in a VarveFS mount.");
  command->callback([options, exit_code] { *exit_code = Run(*options); });
}

}  // namespace varve
