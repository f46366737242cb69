# SPDX-License-Identifier: MIT
# The CUDA backend. nvcc makes one fat binary for each head_dim, and they become part of the library; the driver is
# loaded at run time, so nothing of CUDA is linked. TURBOQUANT_CUDA is AUTO (if nvcc is found), ON or OFF.
# TURBOQUANT_CUDA_ARCHS and TURBOQUANT_CUDA_DIMS bound what is compiled; of the architectures those that nvcc knows. Devices
# of compute capability 8.6 and 8.9 run code for 8.0, and those newer than all that is listed compile the last one's PTX
# when they load it.
set(TURBOQUANT_CUDA AUTO CACHE STRING "The CUDA backend: AUTO, ON or OFF")
set(TURBOQUANT_CUDA_ARCHS 80;90;100;120 CACHE STRING "Architectures: some of 80;86;89;90;100;120")
set(TURBOQUANT_CUDA_DIMS 64;80;96;112;128;192;256 CACHE STRING "Head dims: some of these")
if(TURBOQUANT_CUDA)
    find_program(TURBOQUANT_NVCC nvcc HINTS /usr/local/cuda/bin)
    if(NOT TURBOQUANT_NVCC AND NOT TURBOQUANT_CUDA STREQUAL "AUTO")
        message(FATAL_ERROR "TURBOQUANT_CUDA is ${TURBOQUANT_CUDA}, but nvcc was not found")
    endif()
endif()
if(TURBOQUANT_CUDA AND TURBOQUANT_NVCC AND CMAKE_SYSTEM_NAME STREQUAL "Linux")
    set(folder ${PROJECT_BINARY_DIR}/cuda)
    set(flags -O3 -std=c++17 -I${PROJECT_SOURCE_DIR}/src -Xfatbin -compress-all)
    execute_process(COMMAND ${TURBOQUANT_NVCC} --list-gpu-arch OUTPUT_VARIABLE known COMMAND_ERROR_IS_FATAL ANY)
    string(REGEX MATCHALL "[0-9]+" known "${known}")
    foreach(arch IN LISTS TURBOQUANT_CUDA_ARCHS)
        if(NOT arch IN_LIST known)
            message(STATUS "nvcc does not know architecture ${arch}: it is left out")
            continue()
        endif()
        set(newest ${arch})
        list(APPEND flags -gencode arch=compute_${arch},code=sm_${arch})
    endforeach()
    list(APPEND flags -gencode arch=compute_${newest},code=compute_${newest})
    file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/kernels/cuda/*)
    file(MAKE_DIRECTORY ${folder})
    foreach(dim IN LISTS TURBOQUANT_CUDA_DIMS)
        set(image ${folder}/kernels_${dim}.fatbin)
        add_custom_command(OUTPUT ${image}
            COMMAND ${PROJECT_SOURCE_DIR}/tools/cuda_compile.sh ${TURBOQUANT_NVCC} ${image} ${dim} ${flags}
            DEPENDS ${sources} COMMENT "CUDA kernels of head_dim ${dim}" VERBATIM)
        list(APPEND images ${image})
        list(APPEND TURBOQUANT_CUDA_LOGS ${image}.log)
        string(APPEND included "IMAGE(${dim}, \"${image}\")\n")
        string(APPEND listed "    {${dim}, tq_cuda_image_${dim}},\n")
    endforeach()
    configure_file(${PROJECT_SOURCE_DIR}/cmake/cuda_images.c.in ${folder}/cuda_images.c @ONLY)
    set_source_files_properties(${folder}/cuda_images.c PROPERTIES OBJECT_DEPENDS "${images}")
    target_sources(turboquant_objects PRIVATE ${folder}/cuda_images.c src/cuda/driver.c src/cuda/open.c
        src/cuda/modules.c src/cuda/memory.c src/cuda/sides.c src/cuda/steps.c src/cuda/records.c src/cuda/attention.c src/cuda/decode.c)
    target_compile_definitions(turboquant_objects PRIVATE TQ_CUDA=1)
    set(TURBOQUANT_HAS_CUDA ON)
endif()
