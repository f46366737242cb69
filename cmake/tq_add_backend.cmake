# SPDX-License-Identifier: MIT
# Adds the kernels of one folder of src/kernels/ to the library:
#
#     tq_add_backend(x86 SOURCES encode_avx2.c scores_avx2.c FLAGS -mavx2 -mfma)
#
# FLAGS go to these sources alone; a folder whose files need different flags has one call for each.
#
# clang needs a minute or two for a kernel each of whose addresses UndefinedBehaviorSanitizer checks; AddressSanitizer
# finds those that are wrong.
function(tq_add_backend folder)
    cmake_parse_arguments(PARSE_ARGV 1 backend "" "" "SOURCES;FLAGS")
    list(TRANSFORM backend_SOURCES PREPEND src/kernels/${folder}/)
    target_sources(turboquant_objects PRIVATE ${backend_SOURCES})
    if(TURBOQUANT_SANITIZE AND NOT folder STREQUAL "scalar")
        list(APPEND backend_FLAGS -fno-sanitize=null,object-size,pointer-overflow)
    endif()
    set_source_files_properties(${backend_SOURCES} PROPERTIES COMPILE_OPTIONS "${backend_FLAGS}")
endfunction()
