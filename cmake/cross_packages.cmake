# The outside libraries of a cross build. Debian's own packages hold machine code of this machine, so what is
# used of them is their headers alone: the lower rooms need nothing that has to be linked, except hwloc, which
# base/topology.cc does without here. Googletest is compiled from its packaged sources.
foreach(name fmt spdlog nlohmann gtest gmock)
  find_path(FATHOM_HEADERS_${name} ${name} PATHS /usr/include NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH
            REQUIRED)
  # One link each, because /usr/include as a whole would hide the C library of the target.
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/headers)
  file(CREATE_LINK ${FATHOM_HEADERS_${name}}/${name} ${CMAKE_BINARY_DIR}/headers/${name} SYMBOLIC)
endforeach()

find_file(FATHOM_XXHASH xxhash.h PATHS /usr/include NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH REQUIRED)
file(CREATE_LINK ${FATHOM_XXHASH} ${CMAKE_BINARY_DIR}/headers/xxhash.h SYMBOLIC)

add_library(cross_headers INTERFACE)
target_include_directories(cross_headers SYSTEM INTERFACE ${CMAKE_BINARY_DIR}/headers)
target_compile_definitions(cross_headers INTERFACE FMT_HEADER_ONLY SPDLOG_FMT_EXTERNAL)
foreach(package fmt::fmt spdlog::spdlog nlohmann_json::nlohmann_json)
  add_library(${package} ALIAS cross_headers)
endforeach()

add_library(without_hwloc INTERFACE)
target_compile_definitions(without_hwloc INTERFACE FATHOM_WITHOUT_HWLOC)
add_library(PkgConfig::HWLOC ALIAS without_hwloc)

if(FATHOM_BUILD_TESTS)
  find_path(FATHOM_GOOGLETEST googletest/src/gtest-all.cc PATHS /usr/src/googletest NO_DEFAULT_PATH
            NO_CMAKE_FIND_ROOT_PATH REQUIRED)
  add_library(cross_googletest STATIC
    ${FATHOM_GOOGLETEST}/googletest/src/gtest-all.cc ${FATHOM_GOOGLETEST}/googletest/src/gtest_main.cc
    ${FATHOM_GOOGLETEST}/googlemock/src/gmock-all.cc)
  target_include_directories(cross_googletest PRIVATE
    ${FATHOM_GOOGLETEST}/googletest ${FATHOM_GOOGLETEST}/googlemock)
  target_compile_options(cross_googletest PRIVATE -O0 -w)
  target_link_libraries(cross_googletest PUBLIC cross_headers Threads::Threads)
  add_library(GTest::gmock ALIAS cross_googletest)
  add_library(GTest::gtest_main ALIAS cross_googletest)
endif()
