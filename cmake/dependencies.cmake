# What the project builds on, all from Debian packages (the list stands in `run`).
find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
find_library(XXHASH_LIBRARY xxhash REQUIRED)
add_library(rubato_xxhash INTERFACE)
target_link_libraries(rubato_xxhash INTERFACE ${XXHASH_LIBRARY})

if(RUBATO_WITH_LM)
  # oneDNN's own CMake package asks for OpenCL headers, which nothing here uses.
  find_library(DNNL_LIBRARY dnnl REQUIRED)
  add_library(rubato_dnnl INTERFACE)
  # Its OpenMP runtime, by the name it is loaded with, so that both compilers share the one in use.
  find_library(GOMP_LIBRARY NAMES libgomp.so.1 REQUIRED)
  target_link_libraries(rubato_dnnl INTERFACE ${DNNL_LIBRARY} ${GOMP_LIBRARY})
  find_library(HWY_LIBRARY hwy REQUIRED)
  add_library(rubato_hwy INTERFACE)
  target_link_libraries(rubato_hwy INTERFACE ${HWY_LIBRARY})
  find_library(SENTENCEPIECE_LIBRARY sentencepiece REQUIRED)
  find_library(SENTENCEPIECE_TRAIN_LIBRARY sentencepiece_train REQUIRED)
  add_library(rubato_libsentencepiece INTERFACE)
  target_link_libraries(rubato_libsentencepiece INTERFACE ${SENTENCEPIECE_TRAIN_LIBRARY} ${SENTENCEPIECE_LIBRARY})
  find_package(zstd REQUIRED)
  find_package(ZLIB REQUIRED)
  find_package(tomlplusplus REQUIRED)
  find_package(CLI11 REQUIRED)
  find_package(spdlog REQUIRED)
endif()
if(RUBATO_TESTS)
  find_package(GTest REQUIRED)
  find_package(rapidcheck REQUIRED)
  if(RUBATO_WITH_LM)
    find_package(Protobuf REQUIRED)  # to show that sentencepiece's own stays apart from it
    find_package(yaml-cpp REQUIRED)  # to read the manifests in deploy/
  endif()
endif()

if(RUBATO_WITH_RPC)
  find_package(OpenSSL REQUIRED)
  find_package(Protobuf REQUIRED)
  find_package(gRPC CONFIG REQUIRED)
  # Its structures depend on what the library was built with: the flags of its pkg-config file.
  find_library(HTTPLIB_LIBRARY cpp-httplib REQUIRED)
  add_library(rubato_httplib INTERFACE)
  target_link_libraries(rubato_httplib INTERFACE ${HTTPLIB_LIBRARY})
  target_compile_definitions(rubato_httplib INTERFACE CPPHTTPLIB_OPENSSL_SUPPORT CPPHTTPLIB_ZLIB_SUPPORT
                             CPPHTTPLIB_BROTLI_SUPPORT)
endif()
