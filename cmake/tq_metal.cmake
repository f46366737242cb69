# SPDX-License-Identifier: MIT
# The Metal backend. Its kernels become one embedded source everywhere, so that tests can check it; what calls Metal is
# built on Apple systems alone. Nothing in the library uses it yet: docs/metal.md.
set(metal_dir ${PROJECT_SOURCE_DIR}/src/kernels/metal)
set(metal_embedded ${PROJECT_BINARY_DIR}/metal)
file(GLOB metal_kernels CONFIGURE_DEPENDS ${metal_dir}/*.metal)
file(GLOB metal_headers CONFIGURE_DEPENDS ${metal_dir}/*.h)

add_custom_command(OUTPUT ${metal_embedded}/kernels.metal ${metal_embedded}/kernels_metal.c
    COMMAND ${CMAKE_COMMAND} -DROOT=${PROJECT_SOURCE_DIR}/src "-DKERNELS=${metal_kernels}" -DOUTPUT=${metal_embedded}
            -P ${PROJECT_SOURCE_DIR}/cmake/tq_embed_metal.cmake
    DEPENDS ${PROJECT_SOURCE_DIR}/cmake/tq_embed_metal.cmake ${metal_kernels} ${metal_headers} VERBATIM)
add_custom_target(metal_embedded ALL DEPENDS ${metal_embedded}/kernels.metal)

add_library(turboquant_metal STATIC EXCLUDE_FROM_ALL ${metal_dir}/gpu_metal.c ${metal_dir}/launch_metal.c)
target_include_directories(turboquant_metal PUBLIC include src)
target_link_libraries(turboquant_metal PRIVATE tq_warnings)
if(APPLE)
    enable_language(OBJC)
    target_sources(turboquant_metal PRIVATE ${metal_dir}/host_metal.m ${metal_embedded}/kernels_metal.c)
    # Fast math has another name since macOS 15.
    set_source_files_properties(${metal_dir}/host_metal.m PROPERTIES
        COMPILE_OPTIONS "-fobjc-arc;-Wno-deprecated-declarations")
    target_link_libraries(turboquant_metal PUBLIC turboquant::static "-framework Foundation" "-framework Metal")
endif()
