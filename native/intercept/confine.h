/* The monitor's own filter: the calls that answering takes, and no others. On every thread it will have. */
#ifndef FLASHD_INTERCEPT_CONFINE_H
#define FLASHD_INTERCEPT_CONFINE_H
int fl_monitor_confine(void);
#endif
