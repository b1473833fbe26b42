#include "fs/cli/commands.h"

namespace varve {

// In the order of `varve --help`.
void AddCommands(CLI::App& root, int* exit_code) {
  AddMountCommand(root, exit_code);
  AddUmountCommand(root, exit_code);
}

}  // namespace varve
