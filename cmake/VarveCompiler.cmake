# How everything is compiled: language, warnings, sanitizers, ccache.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
# Libraries outside the system's folders (a private libfuse) are found without environment variables,
# in the build tree and after installation.
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)
set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Debug, RelWithDebInfo, Release" FORCE)
endif()

option(VARVE_WERROR "Warnings are errors" ON)
option(VARVE_FUZZ "Build only the libFuzzer programs (clang)" OFF)
set(VARVE_SANITIZE "" CACHE STRING "What to pass to -fsanitize=, for example address,undefined")

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wconversion)
if(VARVE_WERROR)
  add_compile_options(-Werror)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  add_compile_options(-Wthread-safety)
endif()

# The processor baseline is the distribution's; faster code paths are chosen at run time.
add_compile_definitions(_FILE_OFFSET_BITS=64)
# __FILE__ in messages is the path from the top of the source tree.
add_compile_options("-fmacro-prefix-map=${CMAKE_SOURCE_DIR}/=")

if(VARVE_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "VARVE_FUZZ needs clang: use the preset 'fuzz'.")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
  add_link_options(-fsanitize=fuzzer-no-link)
endif()
if(VARVE_SANITIZE)
  add_compile_options("-fsanitize=${VARVE_SANITIZE}" -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options("-fsanitize=${VARVE_SANITIZE}")
  add_compile_definitions(_GLIBCXX_ASSERTIONS)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Instrumented code makes gcc see paths that are not there.
    add_compile_options(-Wno-maybe-uninitialized)
  endif()
endif()

find_program(VARVE_CCACHE ccache)
mark_as_advanced(VARVE_CCACHE)
if(VARVE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Two clones of one state share their objects.
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env "CCACHE_BASEDIR=${CMAKE_SOURCE_DIR}"
      CCACHE_NOHASHDIR=1 "${VARVE_CCACHE}")
endif()
