// libfuse, with the one API version that all of fs/fuse is written for.
#pragma once

#define FUSE_USE_VERSION 318
#include <fuse_lowlevel.h>
