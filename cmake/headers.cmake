# Precompiled headers: the standard library, fmt and googletest are most of what a compiler reads here, so each
# build reads them once for every set of options: for the rooms, for cli and for the tests. Only headers from
# outside are listed, so that a change of our own recompiles what includes it and nothing else. Each file goes
# on including what it uses: the preset `dev` precompiles nothing and finds the one that forgot.
set(FATHOM_HEADERS
  <algorithm> <array> <atomic> <chrono> <cmath> <cstdint> <cstring> <filesystem> <functional> <limits> <map>
  <memory> <mutex> <optional> <random> <set> <span> <string> <string_view> <thread> <unordered_map> <utility>
  <vector> <fmt/format.h>)

# The first target with a name for its options compiles the headers, the others share them.
function(fathom_precompile target options)
  if(NOT FATHOM_PRECOMPILE_HEADERS)
    return()
  endif()
  get_property(first GLOBAL PROPERTY fathom_headers_${options})
  # Read from a precompiled header, libstdc++ no longer silences warnings about itself: that of
  # std::get_temporary_buffer, and g++ 12's mistake about inlined strings (its bug 105651).
  target_compile_options(${target} PRIVATE -Wno-deprecated-declarations
                         $<$<CXX_COMPILER_ID:GNU>:-Wno-stringop-overflow>)
  if(first)
    target_precompile_headers(${target} REUSE_FROM ${first})
  else()
    target_precompile_headers(${target} PRIVATE ${FATHOM_HEADERS} ${ARGN})
    set_property(GLOBAL PROPERTY fathom_headers_${options} ${target})
  endif()
endfunction()
