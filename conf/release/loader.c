/*
 * The first code of a Linux executable that needs nothing beside it: does what the kernel and the system's own loader would do
 * with a file that names an interpreter and libraries, but takes both from the executable itself.
 *
 *   kernel ─► _start ─► load(): each library into a memfd, its path into the program's string table;
 *                       ld.so into memory;  auxv says where it is  ─► ld.so ─► the program
 *
 * It is linked at 0 and runs wherever conf/release/one_file.ts has put it, behind the first page, which holds the Head. It has no
 * C library, keeps nothing and returns to nobody: whatever fails ends the process with status 127 and a line that says what.
 * Facts: elf(5), getauxval(3), and glibc's elf/rtld.c: an entry of DT_NEEDED with a slash in it is opened as it stands.
 */
#include <elf.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

/* Where things are, from the head's own address on. Written by one_file.ts; keep both alike. */
struct library {
  uint64_t at, size;
  /* The text "/proc/self/fd/0000", in a string table that may be written to. */
  uint64_t path;
};

struct head {
  char magic[8];
  uint64_t entry;
  /* Of this segment, this head included. */
  uint64_t size;
  uint64_t interpreter, interpreter_size;
  /* The table of segments that ld.so sees. */
  uint64_t segments, segments_count;
  uint64_t count;
  struct library libraries[16];
};

#define PATH_DIGITS 14 /* of "/proc/self/fd/" */

static long call(long number, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__)
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
#else
#error "no such machine"
#endif
}

static void fail(const char *what) {
  size_t length = 0;
  while (what[length]) length++;
  call(SYS_write, 2, (long)"ringmaster: cannot start: ", 26, 0, 0, 0);
  call(SYS_write, 2, (long)what, length, 0, 0, 0);
  call(SYS_write, 2, (long)"\n", 1, 0, 0, 0);
  for (;;) call(SYS_exit_group, 127, 0, 0, 0, 0, 0);
}

static void copy(char *to, const char *from, uint64_t size) {
  while (size--) *to++ = *from++;
}

/* A library, where ld.so can open it. The descriptor is closed by exec: a process that is started from this one has its own. */
static void offer(const char *bytes, uint64_t size, char *path) {
  /* Not for exec; kernels before 6.3 do not know the flag, and some have no other. */
  long fd = call(SYS_memfd_create, (long)"ringmaster", MFD_CLOEXEC | 8 /* MFD_NOEXEC_SEAL */, 0, 0, 0, 0);
  if (fd < 0) fd = call(SYS_memfd_create, (long)"ringmaster", MFD_CLOEXEC, 0, 0, 0, 0);
  if (fd < 0) fail("memfd_create is refused here");
  if (fd > 9999) fail("9,999 descriptors are open already");
  while (size > 0) {
    long written = call(SYS_write, fd, (long)bytes, size, 0, 0, 0);
    if (written <= 0) fail("no memory for the C library");
    bytes += written;
    size -= written;
  }
  char *digits = path + PATH_DIGITS;
  int length = fd > 999 ? 4 : fd > 99 ? 3 : fd > 9 ? 2 : 1;
  digits[length] = 0;
  while (length-- > 0) {
    digits[length] = '0' + fd % 10;
    fd /= 10;
  }
}

/* Puts ld.so into memory as the kernel would. Returns where its address 0 is. */
static uint64_t map(const char *file, uint64_t page, uint64_t *entry) {
  const Elf64_Ehdr *elf = (const Elf64_Ehdr *)file;
  const Elf64_Phdr *segments = (const Elf64_Phdr *)(file + elf->e_phoff);
  uint64_t end = 0;
  for (int i = 0; i < elf->e_phnum; i++) {
    uint64_t last = segments[i].p_vaddr + segments[i].p_memsz;
    if (segments[i].p_type == PT_LOAD && last > end) end = last;
  }
  end = (end + page - 1) & -page;
  long base = call(SYS_mmap, 0, end, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base < 0 && base > -4096) fail("no memory for ld.so");
  for (int i = 0; i < elf->e_phnum; i++) {
    const Elf64_Phdr *segment = &segments[i];
    if (segment->p_type == PT_LOAD) copy((char *)base + segment->p_vaddr, file + segment->p_offset, segment->p_filesz);
  }
  for (int i = 0; i < elf->e_phnum; i++) {
    const Elf64_Phdr *segment = &segments[i];
    if (segment->p_type != PT_LOAD) continue;
    uint64_t from = segment->p_vaddr & -page, to = (segment->p_vaddr + segment->p_memsz + page - 1) & -page;
    int may = (segment->p_flags & PF_R ? PROT_READ : 0) | (segment->p_flags & PF_W ? PROT_WRITE : 0) |
              (segment->p_flags & PF_X ? PROT_EXEC : 0);
    if (call(SYS_mprotect, base + from, to - from, may, 0, 0, 0) < 0) fail("memory may not be made executable here");
  }
  *entry = base + elf->e_entry;
  return base;
}

/* stack: what the kernel has left there: argc, argv, 0, envp, 0, auxv. Returns where to go on. */
__attribute__((used)) uint64_t load(uint64_t *stack, char *base) {
  struct head *head = (struct head *)base;
  uint64_t *auxv = stack + 1 + stack[0] + 1;
  while (*auxv) auxv++;
  auxv++;
  uint64_t page = 4096;
  for (uint64_t *each = auxv; *each; each += 2) {
    if (*each == AT_PAGESZ) page = each[1];
  }
  for (uint64_t i = 0; i < head->count; i++) {
    struct library *library = &head->libraries[i];
    offer(base + library->at, library->size, base + library->path);
  }
  uint64_t entry;
  uint64_t at = map(base + head->interpreter, page, &entry);
  /* Read once, and still in the file: not to be counted as this process' memory. */
  call(SYS_madvise, (long)base, head->size & -page, MADV_DONTNEED, 0, 0, 0);
  for (uint64_t *each = auxv; *each; each += 2) {
    if (*each == AT_BASE) each[1] = at;
    if (*each == AT_ENTRY) each[1] = head->entry;
    if (*each == AT_PHDR) each[1] = (uint64_t)base + head->segments;
    if (*each == AT_PHNUM) each[1] = head->segments_count;
  }
  return entry;
}

#if defined(__x86_64__)
__asm__(".globl _start\n"
        "_start:\n"
        "  xor %ebp, %ebp\n"
        "  mov %rsp, %rdi\n"
        "  mov %rsp, %rbx\n"
        "  mov %rdx, %r12\n"
        "  lea __head(%rip), %rsi\n"
        "  and $-16, %rsp\n"
        "  call load\n"
        "  mov %rbx, %rsp\n"
        "  mov %r12, %rdx\n"
        "  jmp *%rax\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n"
        "_start:\n"
        "  mov x29, #0\n"
        "  mov x30, #0\n"
        "  mov x0, sp\n"
        "  mov x19, sp\n"
        "  adrp x1, __head\n"
        "  add x1, x1, :lo12:__head\n"
        "  bl load\n"
        "  mov x16, x0\n"
        "  mov x0, #0\n"
        "  mov sp, x19\n"
        "  br x16\n");
#endif
