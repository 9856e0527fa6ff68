#include "rubato/text/sentencepiece_loader.h"

#include <dlfcn.h>

#include "rubato/base/one_line.h"

namespace rubato {

namespace {

#if !defined(RUBATO_SANITIZED)
void* open_module(const char* file) { return dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND); }
#elif defined(__clang__)
// The sanitizers' dlopen refuses RTLD_DEEPBIND: a module that finds the C library before their
// malloc would mix two heaps. clang keeps its runtime inside the executable, where such a module
// does not look; so clang's sanitizer builds have no isolation and must not link protobuf.
void* open_module(const char* file) { return dlopen(file, RTLD_NOW | RTLD_LOCAL); }
#else
// Theirs refuses it here as well. But g++'s runtime is a library, and the module, built with the
// same flags, looks into it before all others: there is one heap, and the C library's own dlopen
// may do it.
void* open_module(const char* file) {
  void* c_library = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
  const auto c_dlopen = reinterpret_cast<decltype(&dlopen)>(dlsym(c_library, "dlopen"));
  return c_dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
}
#endif

Status not_loaded(const std::string& file) {
  const char* reason = dlerror();
  return absl::FailedPreconditionError(
      cat("[tokenizer] got no module ", one_line(file), " (",
          one_line(reason == nullptr ? "no reason given" : reason),
          "), want it in ../lib/rubato, seen from the program's directory; it is built and "
          "installed together with the program"));
}

}  // namespace

StatusOr<const SentencepieceLibrary*> load_sentencepiece(const std::string& file) {
  // The handle is kept by the process: objects of the module's classes may live until its end.
  void* module = open_module(file.c_str());
  if (module == nullptr) return not_loaded(file);
  void* factory = dlsym(module, kSentencepieceFactoryName);
  if (factory == nullptr) return not_loaded(file);
  return reinterpret_cast<SentencepieceFactory*>(factory)();
}

StatusOr<const SentencepieceLibrary*> sentencepiece_library() {
  static const auto library = load_sentencepiece(RUBATO_SENTENCEPIECE_MODULE);
  return library;
}

}  // namespace rubato
