# How the files below tests/ become programs and tests. They are discovered, never listed.

# Instrumented programs are slow; a time limit means "it hangs".
set(VARVE_TIMEOUT_FACTOR 1)
if(VARVE_SANITIZE)
  set(VARVE_TIMEOUT_FACTOR 6)
endif()

# What every test finds in its environment.
set(VARVE_TEST_ENVIRONMENT
    "VARVE=${PROJECT_BINARY_DIR}/varve"
    "VARVE_TESTS_DIR=${PROJECT_SOURCE_DIR}/tests"
    "PYTHONPATH=${PROJECT_SOURCE_DIR}/tests/support"
    "PYTHONDONTWRITEBYTECODE=1"
    "ASAN_OPTIONS=abort_on_error=1"
    "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/support/leaks.supp:print_suppressions=0"
    "UBSAN_OPTIONS=abort_on_error=1:print_stacktrace=1"
    "TSAN_OPTIONS=second_deadlock_stack=1")

# varve_set_test(TEST LABEL SECONDS): label, time limit and environment of one ctest test.
function(varve_set_test TEST LABEL SECONDS)
  math(EXPR seconds "${SECONDS} * ${VARVE_TIMEOUT_FACTOR}")
  set_tests_properties("${TEST}" PROPERTIES
    LABELS ${LABEL} TIMEOUT ${seconds} SKIP_RETURN_CODE 77 ENVIRONMENT "${VARVE_TEST_ENVIRONMENT}")
endfunction()

# varve_gtest_folder(FOLDER SECONDS): all *.cc of tests/FOLDER as one GoogleTest program FOLDER_tests; each of
# its tests is a ctest test FOLDER/Suite.Name with the label FOLDER.
function(varve_gtest_folder FOLDER SECONDS)
  varve_sources(sources ${FOLDER})
  if(NOT sources)
    return()
  endif()
  add_executable(${FOLDER}_tests ${sources})
  target_link_libraries(${FOLDER}_tests PRIVATE varve_test_support varve_test_main)
  math(EXPR seconds "${SECONDS} * ${VARVE_TIMEOUT_FACTOR}")
  if(TARGET varve)
    add_dependencies(${FOLDER}_tests varve)
  endif()
  gtest_discover_tests(${FOLDER}_tests
    TEST_PREFIX "${FOLDER}/"
    NO_PRETTY_VALUES
    DISCOVERY_MODE PRE_TEST
    DISCOVERY_TIMEOUT 60
    PROPERTIES LABELS ${FOLDER} TIMEOUT ${seconds} ENVIRONMENT "${VARVE_TEST_ENVIRONMENT}")
endfunction()

# varve_script_folder(FOLDER SECONDS): each *_test.py and *_test.sh of tests/FOLDER is one test. It finds the
# built program in $VARVE; exit status 77 says that the machine lacks what the test needs.
function(varve_script_folder FOLDER SECONDS)
  file(GLOB_RECURSE scripts CONFIGURE_DEPENDS RELATIVE "${CMAKE_CURRENT_SOURCE_DIR}/${FOLDER}"
       "${CMAKE_CURRENT_SOURCE_DIR}/${FOLDER}/*_test.py" "${CMAKE_CURRENT_SOURCE_DIR}/${FOLDER}/*_test.sh")
  foreach(script IN LISTS scripts)
    if(script MATCHES "\\.py$")
      set(interpreter "${Python3_EXECUTABLE}")
    else()
      set(interpreter bash)
    endif()
    string(REGEX REPLACE "_test\\.(py|sh)$" "" name "${script}")
    add_test(NAME "${FOLDER}/${name}" COMMAND "${interpreter}" "${CMAKE_CURRENT_SOURCE_DIR}/${FOLDER}/${script}")
    varve_set_test("${FOLDER}/${name}" ${FOLDER} ${SECONDS})
  endforeach()
endfunction()

# varve_fuzz_folder(FOLDER): each NAME_fuzz.cc defines LLVMFuzzerTestOneInput. With VARVE_FUZZ it is a libFuzzer
# program; else it replays FOLDER/corpus/NAME and some seeded mutations of it. Both run as the test FOLDER/NAME.
function(varve_fuzz_folder FOLDER)
  varve_sources(sources ${FOLDER})
  foreach(source IN LISTS sources)
    get_filename_component(program "${source}" NAME_WE)
    string(REGEX REPLACE "_fuzz$" "" name "${program}")
    set(corpus "${CMAKE_CURRENT_SOURCE_DIR}/${FOLDER}/corpus/${name}")
    add_executable(${program} "${source}")
    target_link_libraries(${program} PRIVATE varve_cli)
    if(VARVE_FUZZ)
      target_link_options(${program} PRIVATE -fsanitize=fuzzer)
      if(NOT EXISTS "${corpus}")
        set(corpus)
      endif()
      # A scratch corpus comes first, so that what libFuzzer finds is not written into the source tree.
      file(MAKE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/corpus/${name}")
      add_test(NAME "${FOLDER}/${name}"
        COMMAND ${program} -max_total_time=20 "${CMAKE_CURRENT_BINARY_DIR}/corpus/${name}" ${corpus})
    else()
      target_sources(${program} PRIVATE support/fuzz_replay_main.cc)
      add_test(NAME "${FOLDER}/${name}" COMMAND ${program} --mutations=4000 "${corpus}")
    endif()
    varve_set_test("${FOLDER}/${name}" ${FOLDER} 120)
  endforeach()
endfunction()
