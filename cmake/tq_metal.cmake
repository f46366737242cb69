# SPDX-License-Identifier: MIT
# The Metal backend: part of the library on Apple systems (TURBOQUANT_METAL=OFF leaves it out). Elsewhere the tests build
# what they check of it; the kernels become one embedded source everywhere.
option(TURBOQUANT_METAL "The Metal backend, on Apple systems" ON)
set(metal_dir ${PROJECT_SOURCE_DIR}/src/kernels/metal)
set(metal_embedded ${PROJECT_BINARY_DIR}/metal)
file(GLOB metal_kernels CONFIGURE_DEPENDS ${metal_dir}/*.metal)
file(GLOB metal_headers CONFIGURE_DEPENDS ${metal_dir}/*.h)

add_custom_command(OUTPUT ${metal_embedded}/kernels.metal ${metal_embedded}/kernels_metal.c
    COMMAND ${CMAKE_COMMAND} -DROOT=${PROJECT_SOURCE_DIR}/src "-DKERNELS=${metal_kernels}" -DOUTPUT=${metal_embedded}
            -P ${PROJECT_SOURCE_DIR}/cmake/tq_embed_metal.cmake
    DEPENDS ${PROJECT_SOURCE_DIR}/cmake/tq_embed_metal.cmake ${metal_kernels} ${metal_headers} VERBATIM)
if(TURBOQUANT_TESTS)
    add_custom_target(metal_embedded ALL DEPENDS ${metal_embedded}/kernels.metal)
endif()

set(metal_sources ${metal_dir}/gpu_metal.c ${metal_dir}/launch_metal.c)
foreach(part open memory sides records steps attention)
    list(APPEND metal_sources ${PROJECT_SOURCE_DIR}/src/metal/${part}.c)
endforeach()

if(APPLE AND TURBOQUANT_METAL)
    enable_language(OBJC)
    target_sources(turboquant_objects PRIVATE ${metal_sources} ${metal_dir}/host_metal.m ${metal_embedded}/kernels_metal.c)
    # Fast math has another name since macOS 15.
    set_source_files_properties(${metal_dir}/host_metal.m PROPERTIES
        COMPILE_OPTIONS "-fobjc-arc;-Wno-deprecated-declarations")
    target_compile_definitions(turboquant_objects PRIVATE TQ_METAL=1)
    set(metal_frameworks "-framework Foundation" "-framework Metal")
endif()
