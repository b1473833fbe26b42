# shellcheck shell=bash
# Helpers shared by the scripts in this folder. Source it; it runs nothing.

# Prints "name: message" to standard error.
say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# Prints a sentence and ends the script.
die() {
  say "$*"
  exit 1
}

# Prints the top of the source tree that this script belongs to.
repo_root() { (cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P); }

# How many compile jobs to run: every core, or $VARVE_JOBS.
job_count() { printf '%s\n' "${VARVE_JOBS:-$(nproc)}"; }

# Where scripts/setup puts libfuse when the system's will not do. CMakeLists.txt has the same default.
libfuse_prefix() { printf '%s\n' "${VARVE_LIBFUSE_PREFIX:-/usr/local/lib/varve/libfuse}"; }
