/*
 * Function templates. FREEZE: a helper process stops the instance and writes its image; the instance ends; its language template forks a child that takes the image and becomes a
 * template of its own (parasite/image.h).
 *
 *   FREEZING ─(helper: image written)─▶ STARTING ─(its parasite: READY)─▶ READY ─(FORGET, or its language template retires)─▶ RETIRING ─(no fork under way)─▶ gone
 *                                                                            └─(its process ended: with its forks under way)──────────────────────────────▲
 *
 * Nothing of the function's ever executes in it: its pages come from the image, its code is the parasite's. So it may hold what a language template holds.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/memfd.h"
#include "parasite/image.h"
#include "sandboxd/daemon.h"
#include "sys/packet.h"
#include "sys/syscalls.h"

/* LATE_PAGES_MAX: what a standby may have of its own beyond what it has written to. */
enum { SOCKET_BUFFER_BYTES = 1 << 20, MILLISECOND = 1000000, LATE_PAGES_MAX = 16 };

/* Forks of instances are numbered from 1: these are the language template's reports about function templates. */
#define FUNCTION_REQUEST (1ull << 63)

struct answer { struct fl_captured captured; struct fl_error error; };

static void drop(struct fl_daemon *daemon, struct fl_function *function)
{
  for (uint32_t i = 0; i < daemon->instances; i++)
    if (daemon->instance[i]->function == function) {
      bool spare = fl_spares_leave(daemon->instance[i]);

      daemon->instance[i]->function = NULL;
      daemon->instance[i]->template = NULL;
      daemon->instance[i]->known = false;
      if (spare)                                 /* one that waits for its sandbox becomes the runtime's */
        fl_spares_join(daemon, daemon->instance[i]);
    }
  fl_spares_forget(function);
  fl_close(&function->answer);
  fl_close(&function->image);
  fl_close(&function->bundle);
  free(function->idle);
  daemon->functions_retiring -= function->state == FL_FUNCTION_RETIRING;
  daemon->function[function->index] = NULL;
  daemon->functions--;
  free(function);
}

/* Spares and forks under way end with it; instances that run go on. */
static void end(struct fl_daemon *daemon, struct fl_function *function, const struct fl_error *err)
{
  if (function->freeze_request)
    fl_commands_refuse(daemon, function->freeze_request, err);
  if (function->helper)
    kill(function->helper, SIGKILL);
  fl_instances_template_lost(daemon, &function->template);
  fl_template_kill(&function->template);
  drop(daemon, function);
}

static void fail(struct fl_daemon *daemon, struct fl_function *function, int error, const char *what)
{
  struct fl_error err = {0};

  fl_fail(&err, FL_ERR_TEMPLATE, error, "freeze", "%s", what);
  end(daemon, function, &err);
}

static struct fl_function *enlist(struct fl_daemon *daemon)
{
  uint32_t index = 0;

  while (index < FL_FUNCTIONS_MAX && daemon->function[index])
    index++;
  struct fl_function *function = index < FL_FUNCTIONS_MAX ? calloc(1, sizeof *function) : NULL;
  if (!function)
    return NULL;
  *function = (struct fl_function){.id = ++daemon->next_function * FL_FUNCTIONS_MAX + index, .state = FL_FUNCTION_FREEZING, .index = index, .answer = -1, .image = -1, .bundle = -1,
                                   .template = {.data_fd = -1, .stderr_fd = -1, .infection = {.socket = -1, .bell = -1}}};
  daemon->function[index] = function;
  daemon->functions++;
  return function;
}

__attribute__((noreturn)) static void help(const struct fl_capture *capture, int answer_fd, int image_fd, pid_t parent)
{
  struct answer answer = {0};
  int first = answer_fd < image_fd ? answer_fd : image_fd, second = answer_fd < image_fd ? image_fd : answer_fd;

  /* Whatever sandboxd has open would stay open with this process. */
  if (fl_die_with_parent(parent) < 0 || close_range(STDERR_FILENO + 1, (unsigned)first - 1, 0) < 0 || (second > first + 1 && close_range((unsigned)first + 1, (unsigned)second - 1, 0) < 0) ||
      fl_close_from((unsigned)second + 1) < 0)
    _exit(1);
  fl_capture(capture, image_fd, &answer.captured, &answer.error);
  _exit(fl_packet_send(answer_fd, &answer, sizeof answer, NULL, 0) < 0);
}

static int start_helper(struct fl_daemon *daemon, struct fl_function *function, const struct fl_instance *instance, struct fl_error *err)
{
  struct fl_capture capture = {instance->template->pid, instance->pid, instance->sandbox.init_pid, &instance->template->infection, instance->template->hot};
  pid_t self = getpid();
  int pair[2];

  function->image = memfd_create("flashd-function", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (function->image < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return fl_fail_errno(err, "memfd");
  fl_autoclose int theirs = pair[1];
  function->answer = pair[0];
  if (fl_daemon_watch(daemon, function->answer, FL_SOURCE_FUNCTION, function->index) < 0)
    return fl_fail_errno(err, "epoll_ctl");
  function->helper = fork();
  if (function->helper < 0)
    return fl_fail_errno(err, "fork");
  if (function->helper == 0)
    help(&capture, theirs, function->image, self);
  return 0;
}

void fl_functions_freeze(struct fl_daemon *daemon, const struct fl_freeze *freeze)
{
  struct fl_instance *instance = fl_instances_find(daemon, freeze->instance);
  struct fl_error err = {0};
  struct fl_function *function = NULL;

  if (!instance || instance->state != FL_INSTANCE_RUNNING || !instance->candidate || !instance->template || instance->template->boot != instance->layout ||
      instance->template->state != FL_TEMPLATE_READY)
    fl_fail(&err, FL_ERR_NO_INSTANCE, ENOENT, "freeze", "instance %lu cannot be frozen", freeze->instance);
  else if (!(function = enlist(daemon)))
    fl_fail(&err, FL_ERR_FULL, EAGAIN, "freeze", "%u function templates exist already", daemon->functions);
  if (!function) {
    fl_commands_refuse(daemon, freeze->header.request, &err);
    return;
  }
  function->freeze_request = freeze->header.request;
  function->runtime = instance->runtime;
  function->network = instance->serving;
  function->language = instance->template;
  function->template.boot = instance->template->boot;
  function->bundle = fl_steal_fd(&instance->bundle);
  function->deadline_ns = fl_daemon_now_ns() + (uint64_t)FL_FREEZE_MS * MILLISECOND;
  if (function->deadline_ns < daemon->functions_due_ns)
    daemon->functions_due_ns = function->deadline_ns;
  if (start_helper(daemon, function, instance, &err) < 0) {
    function->helper = 0;
    end(daemon, function, &err);
  }
}

/* Its language template forks it. */
static int start_template(struct fl_daemon *daemon, struct fl_function *function, struct fl_error *err)
{
  struct fl_template *template = &function->template;
  struct fl_fork fork = {.request = FUNCTION_REQUEST | function->id, .cgroup_fd = FL_NO_FD, .home = function->captured.home, .table_bytes = function->captured.table_bytes};
  fl_autoclose int self = pidfd_open(getpid(), 0), mount = -1, bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  int pair[2];

  if (fl_bundle_mount(function->bundle, &mount, err) < 0)
    return -err->errno_value;
  if (self < 0 || bell < 0 || fl_memfd_seal(function->image, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) < 0 ||
      socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return fl_fail_errno(err, "function_template");
  fl_autoclose int theirs = pair[1];
  setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &(int){SOCKET_BUFFER_BYTES}, sizeof(int));
  setsockopt(theirs, SOL_SOCKET, SO_SNDBUF, &(int){SOCKET_BUFFER_BYTES}, sizeof(int));
  template->infection = function->language->infection;
  template->infection.socket = pair[0];
  template->infection.bell = fl_steal_fd(&bell);
  template->runtime = function->runtime;
  template->known_pid = function->captured.pid;
  template->other_pid = function->language->known_pid;
  template->state = FL_TEMPLATE_BOOTING;
  if (fl_daemon_watch(daemon, template->infection.bell, FL_SOURCE_FUNCTION, function->index) < 0)
    return fl_fail_errno(err, "epoll_ctl");
  return fl_template_fork(function->language, &fork, (const int[FL_IMAGE_FDS]){self, theirs, template->infection.bell, function->image, mount}, err);
}

static void frozen(struct fl_daemon *daemon, struct fl_function *function)
{
  struct fl_error err = {0};
  struct answer answer;
  ssize_t length = recv(function->answer, &answer, sizeof answer, MSG_DONTWAIT);

  fl_close(&function->answer);
  if (length != (ssize_t)sizeof answer)
    fail(daemon, function, length < 0 ? errno : EPIPE, "the instance could not be read");
  else if (answer.error.code != FL_OK)
    end(daemon, function, &answer.error);
  else {
    function->captured = answer.captured;
    function->state = FL_FUNCTION_STARTING;
    if (function->language->state != FL_TEMPLATE_READY || function->language->boot != function->template.boot)
      fail(daemon, function, ESRCH, "the language template ended");
    else if (start_template(daemon, function, &err) < 0)
      end(daemon, function, &err);
  }
}

static void ready(struct fl_daemon *daemon, struct fl_function *function)
{
  struct fl_frozen reply = {.header = fl_control_header(FL_MSG_FROZEN, sizeof reply, function->freeze_request), .function = function->id, .bytes = function->captured.bytes};

  function->state = FL_FUNCTION_READY;
  function->template.state = FL_TEMPLATE_READY;
  function->deadline_ns = 0;
  function->freeze_request = 0;
  fl_close(&function->image);
  fl_daemon_send(daemon, &reply, sizeof reply);
}

void fl_functions_readable(struct fl_daemon *daemon, uint32_t index)
{
  struct fl_function *function = index < FL_FUNCTIONS_MAX ? daemon->function[index] : NULL;
  struct fl_fork_report report;
  uint64_t rings;
  int r;

  if (!function)
    return;
  if (function->answer >= 0) {
    frozen(daemon, function);
    return;
  }
  if (read(function->template.infection.bell, &rings, sizeof rings) < 0 && errno != EAGAIN)
    fl_daemon_log("function template %lu: bell: %s", function->id, strerror(errno));
  while ((r = fl_template_report(&function->template, &report)) == 0) {
    if (report.kind == FL_FORK_READY && function->state == FL_FUNCTION_STARTING)
      ready(daemon, function);
    else
      fl_instances_report(daemon, &function->template, &report);
  }
  if (r != -EAGAIN)
    fail(daemon, function, -r, "the function template ended");
}

/* An id ends with the index. */
static struct fl_function *by_id(const struct fl_daemon *daemon, uint64_t id)
{
  struct fl_function *function = daemon->function[id % FL_FUNCTIONS_MAX];

  return function && function->id == id ? function : NULL;
}

void fl_functions_report(struct fl_daemon *daemon, const struct fl_template *from, const struct fl_fork_report *report)
{
  struct fl_function *function = by_id(daemon, report->request & ~FUNCTION_REQUEST);
  struct fl_fork_progress progress = {.asked = true};

  if (!(report->request & FUNCTION_REQUEST))
    return;
  if (function)                                  /* its own READY may have come first */
    progress = (struct fl_fork_progress){.asked = function->state != FL_FUNCTION_FREEZING && function->language == from && function->template.boot == from->boot, .forked = function->template.pid > 0};
  /* Of it a language template says FORKED or FAILED: the rest it says for itself. */
  if (fl_report_check(report, &progress) < 0 || report->kind == FL_PARKED || (report->kind == FL_FORKED && !fl_daemon_new_child(daemon, report->pid)))
    fl_instances_distrust(from, report);
  else if (!function && report->kind == FL_FORKED)
    kill(report->pid, SIGKILL);
  else if (function && report->kind == FL_FORKED)
    function->template.pid = report->pid;
  else if (function)
    fail(daemon, function, report->error, "its language template cannot fork it");
}

struct fl_function *fl_functions_find(const struct fl_daemon *daemon, uint64_t id)
{
  struct fl_function *function = by_id(daemon, id);

  return function && function->state == FL_FUNCTION_READY ? function : NULL;
}

void fl_functions_learn(struct fl_daemon *daemon, const struct fl_learn *learn)
{
  const struct fl_instance *instance = fl_instances_find(daemon, learn->instance);
  struct fl_function *function = instance && instance->state == FL_INSTANCE_RUNNING ? instance->function : NULL;
  fl_autofree struct fl_hot *hot = NULL;
  fl_autofree struct fl_hot_runs *late = NULL;
  struct fl_error err = {0};

  if (!function || function->state != FL_FUNCTION_READY || (learn->idle ? function->idle != NULL : function->learnt))
    return;
  hot = malloc(sizeof *hot);
  late = malloc(sizeof *late);
  if (!hot || !late)
    return;
  if (fl_hot_find(function->template.pid, instance->pid, hot, &err) < 0) {
    fl_daemon_log_error("learn", &err);
    return;
  }
  if (learn->idle) {
    function->idle = fl_hot_writes(hot);
    return;
  }
  function->learnt = true;
  if (function->idle)
    fl_hot_late(hot, function->idle, LATE_PAGES_MAX, late);
  if (fl_pin_tell(function->template.pid, &function->template.infection, hot, function->idle ? late : NULL, &err) < 0)
    fl_daemon_log_error("learn", &err);
}

static bool is_of(const struct fl_function *function, const struct fl_template *language)
{
  return function && function->language == language && function->template.boot == language->boot;
}

/* It takes no more forks. */
static void retire(struct fl_daemon *daemon, struct fl_function *function)
{
  if (function->state == FL_FUNCTION_RETIRING)
    return;
  if (function->state != FL_FUNCTION_READY) {
    fail(daemon, function, ECANCELED, "it is not wanted any more");
    return;
  }
  function->state = FL_FUNCTION_RETIRING;
  daemon->functions_retiring++;
}

void fl_functions_run(struct fl_daemon *daemon)
{
  for (uint32_t i = 0; i < FL_FUNCTIONS_MAX && daemon->functions_retiring; i++) {
    struct fl_function *function = daemon->function[i];

    if (function && function->state == FL_FUNCTION_RETIRING && fl_instances_template_unused(daemon, &function->template))
      fail(daemon, function, 0, "it has retired");
  }
}

bool fl_functions_retired(struct fl_daemon *daemon, const struct fl_template *language)
{
  bool retired = true;

  for (uint32_t i = 0; i < FL_FUNCTIONS_MAX && daemon->functions; i++)
    if (is_of(daemon->function[i], language)) {
      retire(daemon, daemon->function[i]);
      retired = retired && !daemon->function[i];
    }
  return retired;
}

void fl_functions_forget(struct fl_daemon *daemon, uint64_t id)
{
  struct fl_function *function = by_id(daemon, id);

  if (function)
    retire(daemon, function);
}

void fl_functions_broken(struct fl_daemon *daemon, struct fl_function *function)
{
  fail(daemon, function, EPIPE, "the function template ended");
}

void fl_functions_forget_all(struct fl_daemon *daemon)
{
  for (uint32_t i = 0; i < FL_FUNCTIONS_MAX; i++)
    if (daemon->function[i])
      fail(daemon, daemon->function[i], ECANCELED, "it is not wanted any more");
}

bool fl_functions_reaped(struct fl_daemon *daemon, pid_t pid, int status)
{
  for (uint32_t i = 0; i < FL_FUNCTIONS_MAX && daemon->functions; i++) {
    struct fl_function *function = daemon->function[i];

    if (function && function->helper == pid) {
      function->helper = 0;
      return true;
    }
    if (function && function->template.pid == pid) {
      function->template.state = FL_TEMPLATE_DEAD;
      fail(daemon, function, WIFEXITED(status) ? WEXITSTATUS(status) : EINTR, "the function template ended");
      return true;
    }
  }
  return false;
}

void fl_functions_template_lost(struct fl_daemon *daemon, const struct fl_template *template)
{
  for (uint32_t i = 0; i < FL_FUNCTIONS_MAX && daemon->functions; i++)
    if (is_of(daemon->function[i], template))
      fail(daemon, daemon->function[i], ESRCH, "the language template ended");
}

void fl_functions_expire(struct fl_daemon *daemon, uint64_t now_ns)
{
  uint64_t nearest = UINT64_MAX;

  if (daemon->functions_due_ns > now_ns)
    return;
  for (uint32_t i = 0; i < FL_FUNCTIONS_MAX && daemon->functions; i++) {
    uint64_t deadline_ns = daemon->function[i] ? daemon->function[i]->deadline_ns : 0;

    if (deadline_ns && deadline_ns <= now_ns)
      fail(daemon, daemon->function[i], ETIMEDOUT, "it takes too long");
    else if (deadline_ns && deadline_ns < nearest)
      nearest = deadline_ns;
  }
  daemon->functions_due_ns = nearest;
}

uint64_t fl_functions_deadline_ns(const struct fl_daemon *daemon)
{
  return daemon->functions_due_ns;
}
