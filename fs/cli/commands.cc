#include "fs/cli/commands.h"

namespace varve {

// In the order of `varve --help`.
void AddCommands(CLI::App& root, int* exit_code) {
  AddMountCommand(root, exit_code);
  AddUmountCommand(root, exit_code);
  AddStatusCommand(root, exit_code);
  AddStatsCommand(root, exit_code);
  AddLogCommand(root, exit_code);
  AddRestoreCommand(root, exit_code);
  AddCloneCommand(root, exit_code);
  AddSyncCommand(root, exit_code);
  AddGcCommand(root, exit_code);
  AddPurgeCommand(root, exit_code);
  AddScrubCommand(root, exit_code);
  AddFsckCommand(root, exit_code);
}

}  // namespace varve
