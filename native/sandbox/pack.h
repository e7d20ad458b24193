/*
 * The runtimes' pack: what the packaged binary embeds for its languages, encoded by build/pack-runtimes.ts, read once by sandboxd.
 * It comes from our own binary, yet every length is checked.
 *
 *   "FLPK" u32 version=2 u32 count, then per runtime:
 *     str name · u32 flags (1: keeps_pid, 2: may_be_own) · u32 argc, argc × str · u32 envc, envc × str ("NAME=value") · u32 etcs, etcs × str · u32 files, files × { str path, u32 mode, u32 size, bytes }
 *   str = u32 length, bytes (no NUL inside). u32 little-endian. Nothing follows the last runtime.
 *
 * argv[0] is an absolute path inside the base root, or a bare name that is looked for in the host's directories of programs. A path is relative, without "." or "..": the file stands at /opt/flashd/<name>/<path>.
 * etc: paths below the host's /etc that the runtime needs a copy of; the last component may be a pattern (fnmatch).
 */
#ifndef FLASHD_PACK_H
#define FLASHD_PACK_H
#include <flashd/error.h>
#include <flashd/protocol.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a runtime's own files stand in every sandbox, in a directory of its name. */
#define FL_RUNTIME_FILES "/opt/flashd/"
/* Where flashd's own binary stands, under the names of the programs that it stands in for. What is started from there runs a script (src/own-program.ts). */
#define FL_OWN_DIRECTORY "self"
#define FL_OWN_PROGRAMS FL_RUNTIME_FILES FL_OWN_DIRECTORY "/"

enum { FL_PACK_ARGS_MAX = 32, FL_PACK_FILES_MAX = 64, FL_PACK_PATH_MAX = 200 };

struct fl_pack_file { const char *path; uint32_t mode, size; const uint8_t *bytes; };

struct fl_pack_runtime {
  char name[FL_NAME_MAX];
  bool keeps_pid;                              /* forks have the process id of their template: the runtime remembers it */
  bool may_be_own;                             /* its program is what flashd is made with */
  bool own;                                    /* flashd's binary stands in for it: see fl_pack_make_own */
  char *argv[FL_PACK_ARGS_MAX + 1];            /* NULL-terminated */
  char *envp[FL_PACK_ARGS_MAX + 1];
  char *etc[FL_PACK_ARGS_MAX + 1];
  uint32_t files;
  struct fl_pack_file file[FL_PACK_FILES_MAX];
};

struct fl_pack { uint32_t count; struct fl_pack_runtime runtime[FL_RUNTIMES_MAX]; };

/* Copies what it keeps out of bytes, except the files' contents, which go on pointing into them. */
int fl_pack_parse(const uint8_t *bytes, size_t length, struct fl_pack **ret_pack, struct fl_error *err);
/* Of a runtime that may be: its program is flashd's own binary from now on, which takes the script and its arguments but no options. */
void fl_pack_make_own(struct fl_pack_runtime *runtime);
void fl_pack_free(struct fl_pack *pack);
#endif
