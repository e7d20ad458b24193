package flashd;

import java.lang.reflect.Method;

/**
 * Resolves the classes and strings that a class's constant pool names (JVMS 5.4.3), as the first execution of each would: nothing is initialized and no user code runs. What cannot be resolved is
 * left to that first execution.
 */
final class Linking {
  private static final Method POOL, SIZE, TAG, CLASS, STRING;

  static {
    try {
      Class<?> pool = Class.forName("jdk.internal.reflect.ConstantPool");
      POOL = open(Class.class.getDeclaredMethod("getConstantPool"));
      SIZE = open(pool.getMethod("getSize"));
      TAG = open(pool.getMethod("getTagAt", int.class));
      CLASS = open(pool.getMethod("getClassAt", int.class));
      STRING = open(pool.getMethod("getStringAt", int.class));
    } catch (ReflectiveOperationException error) {
      throw new ExceptionInInitializerError(error);
    }
  }

  private Linking() {}

  private static Method open(Method method) {
    method.setAccessible(true);
    return method;
  }

  static void resolve(Class<?> type) {
    try {
      Object pool = POOL.invoke(type);
      int size = (int) SIZE.invoke(pool);
      for (int index = 1; index < size; index++) resolve(pool, index);
    } catch (ReflectiveOperationException | LinkageError unsupported) {
      return;
    }
  }

  private static void resolve(Object pool, int index) {
    try {
      String tag = TAG.invoke(pool, index).toString();
      if (tag.equals("CLASS")) CLASS.invoke(pool, index);
      else if (tag.equals("STRING")) STRING.invoke(pool, index);
    } catch (ReflectiveOperationException absent) {
      return;
    }
  }
}
