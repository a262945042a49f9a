#include "fuzz/target.h"

#include <cstdint>
#include <cstring>

namespace {

int WriteSeeds(const std::string& folder) {
  int number = 0;
  for (const std::string& seed : orchestra::fuzz::Seeds()) {
    char name[16];
    std::snprintf(name, sizeof name, "/seed-%02d", number++);
    std::FILE* file = std::fopen((folder + name).c_str(), "wb");
    const bool written = file && std::fwrite(seed.data(), 1, seed.size(), file) == seed.size();
    if (!file || std::fclose(file) != 0 || !written) {
      std::fprintf(stderr, "could not write %s%s\n", folder.c_str(), name);
      return 1;
    }
  }
  return 0;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  if (*argc == 3 && std::strcmp((*argv)[1], "--seeds") == 0) std::exit(WriteSeeds((*argv)[2]));
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  orchestra::fuzz::Run({reinterpret_cast<const char*>(data), size});
  return 0;
}
