// Preloaded into a server: a disk whose fsync takes 5 s. While the file SLOW_FSYNC_FLAG exists,
// fsync and fdatasync of files below SLOW_FSYNC_DIR are late; each one that was is a line in the
// flag file (the file's name). As from a disk, no signal gets a process out of it.
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace {

constexpr time_t kSeconds = 5;

bool Below(const char* path, const char* dir) {
  const std::size_t length = std::strlen(dir);
  return std::strncmp(path, dir, length) == 0 && path[length] == '/';
}

void Delay(int fd) {
  const char* flag = std::getenv("SLOW_FSYNC_FLAG");
  const char* dir = std::getenv("SLOW_FSYNC_DIR");
  if (flag == nullptr || dir == nullptr || access(flag, F_OK) != 0) return;
  char link[64], path[4096];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, path, sizeof path - 2);
  if (length < 0) return;
  path[length] = '\0';
  if (!Below(path, dir)) return;
  timespec left = {kSeconds, 0};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
  const int log = open(flag, O_WRONLY | O_APPEND | O_CLOEXEC);  // unless it is gone
  if (log < 0) return;
  path[length] = '\n';
  (void)!write(log, path, static_cast<std::size_t>(length) + 1);
  close(log);
}

int Late(const char* name, int fd) {
  const int before = errno;
  Delay(fd);
  errno = before;
  return reinterpret_cast<int (*)(int)>(dlsym(RTLD_NEXT, name))(fd);
}

}  // namespace

extern "C" int fsync(int fd) { return Late("fsync", fd); }
extern "C" int fdatasync(int fd) { return Late("fdatasync", fd); }
