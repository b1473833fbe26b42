// The subcommands of varve.
//
// Each Add…Command() puts one subcommand under `root`: its options, its --help
// and a callback that runs it and stores an ExitCode in `*exit_code`, which
// outlives `root`. Nothing happens before the callback. A command keeps its options
// in a shared_ptr that its callback holds.
//
// Threads: main's only.
// Errors:  a command prints its own sentences (output.h); nothing is thrown.
#pragma once

namespace CLI {
class App;
}

namespace varve {

void AddMountCommand(CLI::App& root, int* exit_code);
void AddUmountCommand(CLI::App& root, int* exit_code);
void AddStatusCommand(CLI::App& root, int* exit_code);
void AddStatsCommand(CLI::App& root, int* exit_code);
void AddLogCommand(CLI::App& root, int* exit_code);
void AddRestoreCommand(CLI::App& root, int* exit_code);
void AddCloneCommand(CLI::App& root, int* exit_code);
void AddSyncCommand(CLI::App& root, int* exit_code);
void AddGcCommand(CLI::App& root, int* exit_code);
void AddPurgeCommand(CLI::App& root, int* exit_code);
void AddScrubCommand(CLI::App& root, int* exit_code);
void AddFsckCommand(CLI::App& root, int* exit_code);

// All of them; commands.cc is the list.
void AddCommands(CLI::App& root, int* exit_code);

}  // namespace varve
