# The third-party libraries. One dependency, one folder: see the target_link_libraries of each folder.

if(DEFINED ENV{VARVE_LIBFUSE_PREFIX})
  set(default_prefix "$ENV{VARVE_LIBFUSE_PREFIX}")
else()
  set(default_prefix "/usr/local/lib/varve/libfuse")
endif()
set(VARVE_LIBFUSE_PREFIX "${default_prefix}" CACHE PATH
    "Where scripts/setup has put libfuse; the system's is taken when nothing is there")

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
pkg_check_modules(LMDB REQUIRED IMPORTED_TARGET lmdb)
pkg_check_modules(URING REQUIRED IMPORTED_TARGET liburing>=2.3)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash>=0.8)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd>=1.5)

# Not through CMAKE_PREFIX_PATH: pkg_check_modules would look there after the system's folders.
set(_saved_pkg_config_path "$ENV{PKG_CONFIG_PATH}")
if(EXISTS "${VARVE_LIBFUSE_PREFIX}/lib/pkgconfig/fuse3.pc")
  set(ENV{PKG_CONFIG_PATH} "${VARVE_LIBFUSE_PREFIX}/lib/pkgconfig:$ENV{PKG_CONFIG_PATH}")
endif()
pkg_check_modules(LIBFUSE IMPORTED_TARGET fuse3>=3.18)
set(ENV{PKG_CONFIG_PATH} "${_saved_pkg_config_path}")
if(NOT LIBFUSE_FOUND)
  message(FATAL_ERROR "libfuse 3.18 or newer was not found; run scripts/setup, which installs it.")
endif()
