/* Java has no setenv(): what a JVM's child processes and its native libraries see is the C library's environment, not System.getenv's. */
#include <jni.h>
#include <stdlib.h>

JNIEXPORT void JNICALL Java_flashd_Renewal_export(JNIEnv *env, jclass type, jbyteArray name, jbyteArray value) {
  jbyte *texts[] = { (*env)->GetByteArrayElements(env, name, NULL), (*env)->GetByteArrayElements(env, value, NULL) };
  (void)type;
  if (texts[0] && texts[1]) setenv((const char *)texts[0], (const char *)texts[1], 1);
  if (texts[0]) (*env)->ReleaseByteArrayElements(env, name, texts[0], JNI_ABORT);
  if (texts[1]) (*env)->ReleaseByteArrayElements(env, value, texts[1], JNI_ABORT);
}
