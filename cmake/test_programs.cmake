# fathom_test(<name> [LABEL <label>] SOURCES <files>... LINK <targets>...)
#
# One program of googletest cases, each of which is one test of ctest.
function(fathom_test name)
  cmake_parse_arguments(TEST "" "LABEL" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${TEST_SOURCES})
  target_link_libraries(${name} PRIVATE ${TEST_LINK} GTest::gtest_main)
  fathom_test_options(${name})
  if(TARGET fathom)
    target_compile_definitions(${name} PRIVATE FATHOM_PROGRAM="$<TARGET_FILE:fathom>")
    add_dependencies(${name} fathom)
  endif()
  if(NOT TEST_LABEL)
    set(TEST_LABEL fast)
  endif()
  gtest_discover_tests(${name} TEST_PREFIX "${FATHOM_TEST_PREFIX}" DISCOVERY_TIMEOUT 60
                       PROPERTIES LABELS ${TEST_LABEL})
endfunction()

# What tests are compiled with, for their programs and for what several of them share.
function(fathom_test_options target)
  target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${target} PRIVATE GTest::gmock)
  target_compile_definitions(${target} PRIVATE FATHOM_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  target_compile_options(${target} PRIVATE ${FATHOM_COLD_OPTIONS})
  fathom_precompile(${target} tests <gmock/gmock.h> <gtest/gtest.h>)
  fathom_units(${target})
endfunction()
