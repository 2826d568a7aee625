# Cross-compiles for 64-bit ARM with Debian's g++-aarch64-linux-gnu; tests run under qemu-user.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
foreach(tool IN ITEMS aarch64-linux-gnu-g++ qemu-aarch64)
  find_program(CMC_FOUND_${tool} ${tool})
  if(NOT CMC_FOUND_${tool})
    message(FATAL_ERROR "${tool} is missing: install g++-aarch64-linux-gnu and qemu-user")
  endif()
endforeach()
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)  # googletest asks for one
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64;-L;/usr/aarch64-linux-gnu)
