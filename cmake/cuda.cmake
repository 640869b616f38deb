# Decides whether the CUDA module is built. Sets MINIM_WITH_CUDA and MINIM_CUDA_SUMMARY; where the module is built, enables the language
# and defines CUDNN::cudnn, NCCL::nccl, CUDA::cudart, CUDA::cublasLt and minim_cuda_library().
# OFF unless asked for.
set(MINIM_CUDA OFF CACHE STRING "The CUDA module: AUTO (where nvcc, cuDNN, NCCL and cuBLASLt are found), ON or OFF")
set_property(CACHE MINIM_CUDA PROPERTY STRINGS AUTO ON OFF)
set(MINIM_CUDA_OLDEST 12.8)

set(MINIM_WITH_CUDA OFF)
if(NOT MINIM_CUDA)
  set(MINIM_CUDA_SUMMARY "off")
  return()
endif()

# An imported library where header and library are found beside the toolkit or on the system's paths.
function(minim_find_vendor_library name target header)
  string(TOUPPER ${name} prefix)
  find_path(${prefix}_INCLUDE_DIR ${header} HINTS ${CUDAToolkit_INCLUDE_DIRS})
  find_library(${prefix}_LIBRARY ${name} HINTS ${CUDAToolkit_LIBRARY_DIR})
  mark_as_advanced(${prefix}_INCLUDE_DIR ${prefix}_LIBRARY)
  if(${prefix}_INCLUDE_DIR AND ${prefix}_LIBRARY)
    add_library(${target} SHARED IMPORTED GLOBAL)
    set_target_properties(${target} PROPERTIES IMPORTED_LOCATION ${${prefix}_LIBRARY}
                                               INTERFACE_INCLUDE_DIRECTORIES ${${prefix}_INCLUDE_DIR})
  endif()
endfunction()

find_package(CUDAToolkit QUIET)
minim_find_vendor_library(cudnn CUDNN::cudnn cudnn.h)
minim_find_vendor_library(nccl NCCL::nccl nccl.h)

set(missing)
if(NOT CUDAToolkit_NVCC_EXECUTABLE)
  list(APPEND missing "nvcc")
elseif(CUDAToolkit_VERSION VERSION_LESS MINIM_CUDA_OLDEST)
  list(APPEND missing "CUDA ${MINIM_CUDA_OLDEST} or later (found ${CUDAToolkit_VERSION})")
endif()
foreach(part IN ITEMS CUDA::cudart CUDA::cublasLt CUDNN::cudnn NCCL::nccl)
  if(NOT TARGET ${part})
    string(REGEX REPLACE ".*::" "" part ${part})
    list(APPEND missing ${part})
  endif()
endforeach()
if(missing)
  list(JOIN missing ", " missing)
  set(MINIM_CUDA_SUMMARY "not built, missing: ${missing}")
  if(NOT MINIM_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "MINIM_CUDA=${MINIM_CUDA}, but the CUDA module lacks: ${missing}")
  endif()
  return()
endif()

# All that a release supports; the last is also compiled to PTX, for devices to come. A developer sets the one that is at hand, here or
# in the environment's CUDAARCHS, and builds in a fraction of the time.
if(NOT CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
  set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 86-real 89-real 90-real 100-real 120
      CACHE STRING "Architectures that the CUDA module is compiled for" FORCE)
endif()
if(NOT CMAKE_CUDA_COMPILER)
  set(CMAKE_CUDA_COMPILER ${CUDAToolkit_NVCC_EXECUTABLE} CACHE FILEPATH "CUDA compiler" FORCE)
endif()
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25.1 does not know it
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
if(CCACHE)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()

foreach(part IN ITEMS MAJOR MINOR PATCHLEVEL)
  file(STRINGS ${CUDNN_INCLUDE_DIR}/cudnn_version.h line REGEX "#define CUDNN_${part} ")
  string(REGEX MATCH "[0-9]+$" cudnn_${part} "${line}")
endforeach()
foreach(part IN ITEMS MAJOR MINOR PATCH)
  file(STRINGS ${NCCL_INCLUDE_DIR}/nccl.h line REGEX "#define NCCL_${part} ")
  string(REGEX MATCH "[0-9]+$" nccl_${part} "${line}")
endforeach()
list(JOIN CMAKE_CUDA_ARCHITECTURES " " architectures)
set(MINIM_WITH_CUDA ON)
set(MINIM_CUDA_SUMMARY "nvcc ${CMAKE_CUDA_COMPILER_VERSION} for ${architectures}, \
cuDNN ${cudnn_MAJOR}.${cudnn_MINOR}.${cudnn_PATCHLEVEL}, NCCL ${nccl_MAJOR}.${nccl_MINOR}.${nccl_PATCH}")

# A folder's part of the module: minim_cuda_library(runtime_cuda FOLDER runtime SOURCES ... LIBRARIES vendor...). Its .cu files are also noted in
# the global property MINIM_KERNEL_SOURCES: tests compile them for the CPU.
function(minim_cuda_library name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "FOLDER" "SOURCES;LIBRARIES")
  add_library(minim_${name} STATIC ${ARG_SOURCES})
  target_include_directories(minim_${name} PUBLIC ${CMAKE_SOURCE_DIR}/${ARG_FOLDER}/src)
  target_link_libraries(minim_${name} PUBLIC minim_${ARG_FOLDER} CUDA::cudart PRIVATE minim_flags ${ARG_LIBRARIES})
  set(kernels ${ARG_SOURCES})
  list(FILTER kernels INCLUDE REGEX "\\.cu$")
  list(TRANSFORM kernels PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
  set_property(GLOBAL APPEND PROPERTY MINIM_KERNEL_SOURCES ${kernels})
endfunction()
