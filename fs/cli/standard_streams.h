// What a daemon does with the terminal that started it: lets go of it.
//
// Threads: a free function.
#pragma once

namespace varve {

// Input, output and errors become /dev/null, so that nobody waits for the end of a
// pipe that the daemon inherited.
void CloseStandardStreams();

}  // namespace varve
