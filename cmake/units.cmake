# Compilers spend most of a build on what headers bring into each file. So the files of one folder are compiled
# eight at a time. Names of one file that another of its eight has as well
# (in unnamed namespaces) are errors then: share or rename them, or, where both are the right ones as in tests of
# sisters, list the file here. Files with options of their own are compiled alone. The preset `dev` compiles
# every file alone and finds the one that leans on another's includes.
set(FATHOM_FILES_PER_UNIT 8)
set(FATHOM_FILES_ALONE
  src/api/openai/completions_answer_test.cc src/api/openai/completions_request_test.cc
  src/cli/inspect_test.cc src/cli/tokenize_test.cc src/tokenizer/tokenizer_test.cc
  tests/api/chat_test.cc tests/api/completions_test.cc tests/api/constraint_test.cc tests/api/messages_test.cc
  tests/api/responses_test.cc tests/api/routes_test.cc
  tests/batching/service_test.cc tests/exactness/serving_test.cc tests/house/rules_test.cc
  tests/identity/flash_width_test.cc)
list(TRANSFORM FATHOM_FILES_ALONE PREPEND ${CMAKE_SOURCE_DIR}/)

# Groups the files of a target; to be called where the target is made.
function(fathom_units target)
  if(NOT FATHOM_UNITS)
    return()
  endif()
  get_target_property(sources ${target} SOURCES)
  foreach(source ${sources})
    get_filename_component(file ${source} ABSOLUTE)
    if(file IN_LIST FATHOM_FILES_ALONE)
      continue()
    endif()
    file(RELATIVE_PATH folder ${CMAKE_SOURCE_DIR} ${file}/..)
    string(MAKE_C_IDENTIFIER ${folder} folder)
    list(APPEND files_${folder} ${file})
    list(LENGTH files_${folder} count)
    math(EXPR unit "(${count} - 1) / ${FATHOM_FILES_PER_UNIT}")
    set_source_files_properties(${source} PROPERTIES UNITY_GROUP "${folder}_${unit}")
  endforeach()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Types of unnamed namespaces inside a class: g++ allows them in a main file only, which a unit is not.
    target_compile_options(${target} PRIVATE -Wno-subobject-linkage)
  endif()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
endfunction()
