# SPDX-License-Identifier: MIT
# Makes one source of all Metal kernels, each header once, and a C array of it:
#
#     cmake -DROOT=src -DKERNELS="a.metal;b.metal" -DOUTPUT=folder -P tq_embed_metal.cmake
#
# writes OUTPUT/kernels.metal and OUTPUT/kernels_metal.c with `const char tq_metal_source[]`.
cmake_minimum_required(VERSION 3.21)
set(seen "")

# Appends to `text` the lines of a file, with the files it includes by quotes in their place.
function(append_source path)
    if(path IN_LIST seen)
        return()
    endif()
    set(seen ${seen} ${path})
    file(READ ${path} source)
    set(include_line "#include \"([^\"]+)\"\n")
    while(source MATCHES "${include_line}")
        string(FIND "${source}" "${CMAKE_MATCH_0}" at)
        string(LENGTH "${CMAKE_MATCH_0}" length)
        string(SUBSTRING "${source}" 0 ${at} before)
        math(EXPR at "${at} + ${length}")
        string(SUBSTRING "${source}" ${at} -1 source)
        string(APPEND text "${before}")
        append_source(${ROOT}/${CMAKE_MATCH_1})
    endwhile()
    string(APPEND text "${source}")
    set(text "${text}" PARENT_SCOPE)
    set(seen ${seen} PARENT_SCOPE)
endfunction()

foreach(kernel IN LISTS KERNELS)
    append_source(${kernel})
endforeach()
file(WRITE ${OUTPUT}/kernels.metal "${text}")
file(READ ${OUTPUT}/kernels.metal bytes HEX)
string(REGEX REPLACE "(................................)" "\\1\n    " bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1, " bytes "${bytes}")
file(WRITE ${OUTPUT}/kernels_metal.c "/* Made by tq_embed_metal.cmake of src/kernels/metal/. */\n"
    "extern const char tq_metal_source[];\nconst char tq_metal_source[] = {\n    ${bytes}0x00};\n")
