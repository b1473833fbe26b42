// varve: the command. What it can do is in commands.cc.

#include <CLI/CLI.hpp>
#include <string>

#include "fs/cli/commands.h"
#include "fs/cli/exit_code.h"
#include "fs/cli/mount_command.h"
#include "fs/cli/version.h"

int main(int argument_count, char** arguments) {
  if (argument_count > 0 && varve::IsMountHelper(arguments[0]))
    return varve::RunMountHelper(argument_count, arguments);
  CLI::App app("VarveFS: a filesystem that keeps every version of AI model checkpoints.", "varve");
  app.set_version_flag("--version", std::string(varve::kVersion));
  app.require_subcommand(1);
  int exit_code = varve::kDone;
  varve::AddCommands(app, &exit_code);
  try {
    app.parse(argument_count, arguments);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? varve::kDone : varve::kUsage;
  }
  return exit_code;
}
