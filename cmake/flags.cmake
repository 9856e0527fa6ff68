# Flags of every target. Bits are compared between runs, so contraction is off outside kernels and
# -ffast-math is nowhere; kernels that want more say so file by file (rubato_kernel_flags).
add_library(rubato_flags INTERFACE)
target_compile_options(rubato_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor -Werror=unused-result
  -ffp-contract=off -fno-math-errno -fno-trapping-math)
if(RUBATO_SANITIZE)
  target_compile_definitions(rubato_flags INTERFACE RUBATO_SANITIZED)
  target_compile_options(rubato_flags INTERFACE -fsanitize=${RUBATO_SANITIZE} -fno-omit-frame-pointer
                         -fno-sanitize-recover=all)
  target_link_options(rubato_flags INTERFACE -fsanitize=${RUBATO_SANITIZE})
endif()
