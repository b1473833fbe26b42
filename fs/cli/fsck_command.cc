#include "fs/cli/fsck_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "fs/cli/commands.h"
#include "fs/cli/failure.h"
#include "fs/cli/mount_point.h"
#include "fs/cli/output.h"

namespace varve {
namespace {

struct Options {
  std::string store;
  FsckOptions fsck;
  bool json = false;
};

std::string Verdict(const FsckReport& report) {
  if (report.clean()) return "clean";
  if (report.repaired == report.damages)
    return fmt::format("DAMAGE FOUND: {}, all repaired", report.damages);
  if (report.repaired > 0)
    return fmt::format("DAMAGE FOUND: {}, of which {} could not be repaired", report.damages,
                       report.damages - report.repaired);
  return fmt::format("DAMAGE FOUND: {}; nothing was changed, --repair does what is said above",
                     report.damages);
}

ExitCode Run(const Options& options) {
  const std::string store = AbsolutePath(options.store);
  FsckOptions fsck = options.fsck;
  ProgressBar bar("checking");
  fsck.progress = [&bar](std::string_view what, uint64_t done, uint64_t total) {
    bar.Update(done, total, what);
  };
  const Result<FsckReport> report = CheckStore(store, fsck);
  if (!report.ok()) {
    if (report.status().code() != Code::kBusy) return Fail(report.status());
    PrintError(fmt::format("{}; fsck needs a store that nobody uses",
                           Printable(report.status().context())));
    return kFailed;
  }
  fmt::print("{}", options.json ? FsckJson(store, *report) : DescribeFsck(store, *report));
  return FsckExitCode(*report);
}

}  // namespace

ExitCode FsckExitCode(const FsckReport& report) { return report.clean() ? kDone : kDamaged; }

std::string DescribeFsck(const std::string& store, const FsckReport& report) {
  std::string text;
  for (const FsckReport::Finding& finding : report.findings)
    text += fmt::format("{}: {} ({}: {})\n", finding.repaired ? "repaired" : "damage",
                        Printable(finding.what), finding.repaired ? "done" : "repair",
                        Printable(finding.remedy));
  if (report.damages > report.findings.size())
    text += fmt::format("… and {} more\n", report.damages - report.findings.size());
  for (const std::string& note : report.notes) text += fmt::format("note: {}\n", Printable(note));
  text += fmt::format(
      "{}: {} inodes, {} directories, {} names, {} versions, {} contents, {} chunks ({}) and {} "
      "journals in {} packs\n",
      Printable(store), report.inodes, report.directories, report.names, report.versions,
      report.contents, report.chunks, HumanSize(report.stored_bytes), report.journals,
      report.packs);
  return text + fmt::format("{}: {}\n", Printable(store), Verdict(report));
}

std::string FsckJson(const std::string& store, const FsckReport& report) {
  nlohmann::ordered_json findings = nlohmann::ordered_json::array();
  for (const FsckReport::Finding& finding : report.findings)
    findings.push_back(
        {{"what", finding.what}, {"remedy", finding.remedy}, {"repaired", finding.repaired}});
  const nlohmann::ordered_json all = {{"store", store},
                                      {"clean", report.clean()},
                                      {"damages", report.damages},
                                      {"repaired", report.repaired},
                                      {"findings", std::move(findings)},
                                      {"notes", report.notes},
                                      {"inodes", report.inodes},
                                      {"directories", report.directories},
                                      {"names", report.names},
                                      {"versions", report.versions},
                                      {"contents", report.contents},
                                      {"chunks", report.chunks},
                                      {"stored_bytes", report.stored_bytes},
                                      {"packs", report.packs},
                                      {"journals", report.journals}};
  // A name need not be UTF-8; what is not becomes U+FFFD.
  return all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

void AddFsckCommand(CLI::App& root, int* exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      root.add_subcommand("fsck", "Check a store that is not mounted, and repair it");
  command->add_option("STORE", options->store, "The store's directory")->required();
  command->add_flag("--repair", options->fsck.repair,
                    "Make the store consistent again, losing as little as possible");
  command->add_flag("--rebuild-index", options->fsck.rebuild_index,
                    "Make the index anew from the packs, then repair; the old one is kept aside");
  command->add_flag("--verify-data", options->fsck.verify_data, "Decode and verify every chunk");
  command->add_flag("--json", options->json, "Print JSON (docs/SEMANTICS.md)");
  command->footer(
      "What a killed daemon leaves is not damage: the next mount goes on with it. What is lost "
      "for\n"
      "good stays listed, is marked incomplete, and reads as an I/O error.\n"
      "Examples:\n"
      "  varve fsck /var/lib/varve\n"
      "  varve fsck --repair --verify-data /var/lib/varve\n"
      "  varve fsck --rebuild-index /var/lib/varve   # the index was lost\n"
      "Exit status: 0 clean, 1 failed to run (in use, no store), 2 usage, 5 damage was found, "
      "also\n"
      "when it was repaired.");
  command->callback([options, exit_code] { *exit_code = Run(*options); });
}

}  // namespace varve
