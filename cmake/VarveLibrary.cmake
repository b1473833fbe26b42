# varve_sources(OUT FOLDER [EXCLUDE REGEX]): all *.cc below the folder, looked for anew at every build.
# REGEX is matched against paths relative to the current folder.
function(varve_sources OUT FOLDER)
  cmake_parse_arguments(ARG "" "EXCLUDE" "" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS RELATIVE "${CMAKE_CURRENT_SOURCE_DIR}"
       "${CMAKE_CURRENT_SOURCE_DIR}/${FOLDER}/*.cc")
  if(ARG_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX "${ARG_EXCLUDE}")
  endif()
  set(${OUT} "${sources}" PARENT_SCOPE)
endfunction()

# varve_library(NAME SOURCES ... PUBLIC ... PRIVATE ...): a static library whose includes are rooted at the
# top of the tree. A folder without sources becomes an interface library, so that it can fill in later.
function(varve_library NAME)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  if(ARG_SOURCES)
    add_library(${NAME} STATIC ${ARG_SOURCES})
    target_include_directories(${NAME} PUBLIC "${PROJECT_SOURCE_DIR}")
    target_link_libraries(${NAME} PUBLIC ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
  else()
    add_library(${NAME} INTERFACE)
    target_include_directories(${NAME} INTERFACE "${PROJECT_SOURCE_DIR}")
    target_link_libraries(${NAME} INTERFACE ${ARG_PUBLIC})
  endif()
endfunction()
