# The house: each room is a folder of src/ and one static library. A room may include itself and the rooms
# listed for it, which all lie on lower floors (tests/house checks every #include against this table).
# PACKAGES lists the outside headers a room may use; a package written as `file:package` is allowed in that
# one file only.
#
#   fathom_room(<name> FLOOR <n> [INCLUDES <rooms>...] [PACKAGES <packages>...] [LINK <targets>...])
#
# Every *.cc of the folder (and one level below) belongs to the room, every *_test.cc to its test program
# <name>_test, so that no source file can be forgotten.
#
# FATHOM_ROOMS collects the names of all of them.
function(fathom_room name)
  if(FATHOM_ONLY_ROOMS AND NOT name IN_LIST FATHOM_ONLY_ROOMS)
    return()
  endif()
  set(FATHOM_ROOMS ${FATHOM_ROOMS} ${name} PARENT_SCOPE)
  cmake_parse_arguments(ROOM "" "FLOOR" "INCLUDES;PACKAGES;LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cc
       ${CMAKE_SOURCE_DIR}/src/${name}/*/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$|/cli/main\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  add_library(fathom_${name} STATIC ${sources})
  target_include_directories(fathom_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  list(TRANSFORM ROOM_INCLUDES PREPEND fathom_ OUTPUT_VARIABLE room_targets)
  target_link_libraries(fathom_${name} PUBLIC ${room_targets} ${ROOM_LINK})
  set_target_properties(fathom_${name} PROPERTIES LINKER_LANGUAGE CXX)
  fathom_units(fathom_${name})
  if(name STREQUAL "cli")
    target_compile_options(fathom_cli PRIVATE ${FATHOM_COLD_OPTIONS})
    fathom_precompile(fathom_cli cli <CLI/CLI.hpp>)
  else()
    set(headers rooms)
    if(name MATCHES "^(api|server|verify|measure)$")
      # No loops over numbers or text, and much template code: the longest unit takes 27 s so, with -O3 44 s.
      target_compile_options(fathom_${name} PRIVATE $<$<CONFIG:Release>:-O2>)
      set(headers glue)
    endif()
    if(FATHOM_BUILD_FUZZERS AND name STREQUAL "kernels")
      set(headers kernels)
    elseif(FATHOM_BUILD_FUZZERS)
      # The rooms report their coverage to the fuzzer; kernels read no foreign bytes.
      target_compile_options(fathom_${name} PRIVATE -fsanitize=fuzzer-no-link)
    endif()
    fathom_precompile(fathom_${name} ${headers})
  endif()
  if(FATHOM_ONLY_TESTS AND NOT name IN_LIST FATHOM_ONLY_TESTS)
    return()
  endif()
  if(FATHOM_BUILD_TESTS AND tests)
    fathom_test(${name}_test SOURCES ${tests} LINK fathom_${name})
  endif()
endfunction()

fathom_room(base FLOOR 0
  PACKAGES fmt log.cc:spdlog json.cc:nlohmann topology.cc:hwloc
  LINK fmt::fmt spdlog::spdlog nlohmann_json::nlohmann_json PkgConfig::HWLOC Threads::Threads)
fathom_room(text FLOOR 1 INCLUDES base)
fathom_room(numerics FLOOR 1 INCLUDES base)
fathom_room(tokenizer FLOOR 2 INCLUDES base text PACKAGES fmt pcre2 LINK PkgConfig::PCRE2)
fathom_room(tensor FLOOR 2 INCLUDES base numerics)
fathom_room(chat FLOOR 3 INCLUDES base text tokenizer PACKAGES fmt)
fathom_room(grammar FLOOR 3 INCLUDES base text tokenizer)
fathom_room(kernels FLOOR 3 INCLUDES base numerics tensor)
fathom_room(checkpoint FLOOR 3 INCLUDES base numerics tensor PACKAGES fmt)
fathom_room(api FLOOR 4 INCLUDES base text tokenizer chat PACKAGES fmt)
fathom_room(model FLOOR 4 INCLUDES base numerics tensor kernels checkpoint PACKAGES fmt)
fathom_room(sampling FLOOR 4 INCLUDES base numerics tensor kernels)
fathom_room(cache FLOOR 5 INCLUDES base numerics tensor kernels model
  PACKAGES fmt disk_format.cc:xxhash)
fathom_room(engine FLOOR 6 INCLUDES base numerics tensor kernels model sampling cache PACKAGES fmt)
fathom_room(verify FLOOR 7 INCLUDES base numerics tensor kernels checkpoint model PACKAGES fmt)
fathom_room(server FLOOR 7
  INCLUDES base text tokenizer numerics tensor chat grammar api kernels model sampling cache engine
  PACKAGES fmt http.cc:boost http_asio.cc:boost http_connection.cc:boost http_connection.h:boost
           http_parser.cc:boost
  LINK Boost::headers OpenSSL::SSL)
fathom_room(measure FLOOR 7 INCLUDES base numerics tensor kernels checkpoint model PACKAGES fmt)
fathom_room(cli FLOOR 8
  INCLUDES base text numerics tokenizer tensor chat grammar api kernels checkpoint model sampling cache
           engine server verify measure
  PACKAGES fmt CLI11 line_editor.cc:libedit
  LINK CLI11::CLI11 PkgConfig::EDIT)

# Files compiled for one instruction set; which one runs is decided at run time (kernels/context.h). What they
# define is static or named by the instruction set, so that the linker cannot hand their code to other files.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  if(FATHOM_SANITIZE MATCHES "undefined")
    # With checks of every pointer unrolled loops of intrinsics take more than twice as long to compile;
    # AddressSanitizer looks at each access anyway, and these take any alignment.
    set(FATHOM_INTRINSICS "-fno-sanitize=alignment,null,pointer-overflow")
  endif()
  set_source_files_properties(src/kernels/cpu/avx2_attention.cc src/kernels/cpu/avx2_dot.cc
    src/kernels/cpu/avx2_int8.cc src/kernels/cpu/avx2_limits.cc src/kernels/cpu/avx2_rows.cc PROPERTIES
    SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS "${FATHOM_INTRINSICS};-mavx2;-mfma")
  set(FATHOM_AVX512
    "${FATHOM_INTRINSICS};-mavx512f;-mavx512bw;-mavx512vl;-mavx512dq;-mavx512vbmi;-mavx512bf16;-mavx512vnni;-mgfni;-mprefer-vector-width=512;$<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized;-Wno-uninitialized>")
  set_source_files_properties(src/kernels/cpu/avx512_attention.cc src/kernels/cpu/avx512_batch.cc
    src/kernels/cpu/avx512_dot.cc src/kernels/cpu/avx512_few.cc src/kernels/cpu/avx512_index.cc
    src/kernels/cpu/avx512_int8.cc src/kernels/cpu/avx512_limits.cc src/kernels/cpu/avx512_rows.cc PROPERTIES
    SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS "${FATHOM_AVX512}")
  set_source_files_properties(src/kernels/cpu/amx_attention.cc src/kernels/cpu/amx_dot.cc
    src/kernels/cpu/amx_one_row.cc PROPERTIES
    SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS "${FATHOM_AVX512};-mamx-tile;-mamx-bf16")
  # g++ 12 warns about the undefined operands inside its own avx512fintrin.h (its bug 105593).
endif()

# Not vectorised, on purpose: see the head of the file.
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/kernels/reference/attention.cc PROPERTIES
  SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS -fno-tree-vectorize)

# Asio is compiled once, in http_asio.cc. ThreadSanitizer does not know bare fences, which Asio has besides
# its mutexes.
if(TARGET fathom_server)
  target_compile_definitions(fathom_server PRIVATE BOOST_ASIO_SEPARATE_COMPILATION)
  if(FATHOM_SANITIZE STREQUAL "thread")
    target_compile_definitions(fathom_server PRIVATE BOOST_ASIO_DISABLE_FENCED_BLOCK)
  endif()
endif()
