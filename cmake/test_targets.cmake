# How a folder of tests becomes programs and ctest entries.

# What a test may link when nobody narrowed it.
set(CMKD_EVERYTHING cmkd_testlib cmkd_hsm_host cmkd_ctl cmkd_daemon cmkd_firmware_sim cmkd_store cmkd_remote OpenSSL::Crypto
  PkgConfig::lmdb ${CMAKE_DL_LIBS})

# Where a test finds the tree and what was built from it.
set(CMKD_TEST_PLACES "CMKD_SOURCE_DIR=\"${PROJECT_SOURCE_DIR}\"" "CMKD_BUILD_DIR=\"${PROJECT_BINARY_DIR}\"")
set(CMKD_TEST_ENVIRONMENT "CMKD_SOURCE_DIR=${PROJECT_SOURCE_DIR};CMKD_BUILD_DIR=${PROJECT_BINARY_DIR}")
if(CMKD_SANITIZE)
  # The module has no static destructors, so what it held when it is unloaded looks lost. Leaks are told of by the fuzz build.
  list(APPEND CMKD_TEST_ENVIRONMENT "ASAN_OPTIONS=detect_leaks=0")
endif()

# cmkd_test_folder(NAME LINK libs [NEEDS targets] [TIMEOUT s] [SERIAL] [OPTIONS flags]): tests/NAME/**/*_test.cc and their
# helpers as one program NAME_test, each case one ctest entry. NEEDS: programs that the tests start.
function(cmkd_test_folder name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "SERIAL" "TIMEOUT" "LINK;NEEDS;OPTIONS")
  set(CMAKE_CURRENT_SOURCE_DIR "${PROJECT_SOURCE_DIR}/tests/${name}")
  cmkd_sources(sources **/*.cc)
  if(NOT sources MATCHES "_test\\.cc")
    return()
  endif()
  # Many times what the slowest takes on two busy processors: only what hangs is to be ended.
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  set(program "${name}_test")
  add_executable(${program} ${sources})
  target_link_libraries(${program} PRIVATE cmkd_options ${arg_LINK} GTest::gmock GTest::gtest_main)
  target_compile_definitions(${program} PRIVATE ${CMKD_TEST_PLACES})
  target_compile_options(${program} PRIVATE ${arg_OPTIONS})
  set_target_properties(${program} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMKD_TEST_BIN_DIR}")
  foreach(needed IN LISTS arg_NEEDS)
    if(TARGET ${needed})
      add_dependencies(${program} ${needed})
    endif()
  endforeach()
  set(serial FALSE)
  if(arg_SERIAL)
    set(serial TRUE)
  endif()
  gtest_discover_tests(${program} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60 TEST_PREFIX "${name}."
    PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "${name}" RUN_SERIAL ${serial} SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\]")
endfunction()

# cmkd_script_tests(NAME [PATTERN globs] [EXCLUDE regexes] [TIMEOUT s] [SERIAL] [INSIDE command...]): scripts of tests/NAME as
# ctest entries, started by the command when there is one.
function(cmkd_script_tests name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "SERIAL" "TIMEOUT" "PATTERN;EXCLUDE;INSIDE")
  if(NOT arg_PATTERN)
    set(arg_PATTERN *_test.sh)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 600)
  endif()
  set(CMAKE_CURRENT_SOURCE_DIR "${PROJECT_SOURCE_DIR}/tests/${name}")
  cmkd_sources(scripts ${arg_PATTERN} EXCLUDE ${arg_EXCLUDE})
  foreach(script IN LISTS scripts)
    cmake_path(GET script STEM test)
    add_test(NAME "${name}.${test}" COMMAND ${arg_INSIDE} bash "${script}" WORKING_DIRECTORY "${PROJECT_BINARY_DIR}")
    set_tests_properties("${name}.${test}" PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "${name};scripts"
      ENVIRONMENT "${CMKD_TEST_ENVIRONMENT}")
    if(arg_SERIAL)
      set_tests_properties("${name}.${test}" PROPERTIES RUN_SERIAL TRUE)
    endif()
  endforeach()
endfunction()
