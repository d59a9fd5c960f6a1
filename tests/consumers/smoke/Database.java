// Opens a database whose pages or scripts a provider over PKCS#11 encrypts, fills or reads it, and says how many rows it saw:
// Database URL write|read. Module and PIN come from the environment as in every script here.
import java.security.KeyStore;
import java.security.Provider;
import java.security.Security;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

public class Database {
  static final int ROWS = 1000;

  static void fill(Connection connection) throws SQLException {
    connection.createStatement().execute("create table secrets (id int primary key, text varchar(200))");
    PreparedStatement insert = connection.prepareStatement("insert into secrets values (?, ?)");
    for (int i = 0; i < ROWS; i++) {
      insert.setInt(1, i);
      insert.setString(2, "secret-text-" + i);
      insert.executeUpdate();
    }
    connection.commit();
  }

  public static void main(String[] arguments) throws Exception {
    String configuration = "--name=token\nlibrary=" + System.getenv("SPIED_MODULE")
        + "\nslotListIndex=0\nattributes=compatibility\n";
    Provider provider = Security.getProvider("SunPKCS11").configure(configuration);
    Security.insertProviderAt(provider, 1);
    KeyStore.getInstance("PKCS11", provider).load(null, System.getenv("P11_PIN").toCharArray());
    try (Connection connection = DriverManager.getConnection(arguments[0], "SA", "")) {
      connection.setAutoCommit(false);
      if (arguments[1].equals("write")) fill(connection);
      Statement statement = connection.createStatement();
      ResultSet rows = statement.executeQuery("select count(*) from secrets where text like 'secret-text-%'");
      rows.next();
      System.out.println("rows " + rows.getInt(1));
      connection.commit();
    }
    if (arguments[0].startsWith("jdbc:derby:")) {
      try {
        DriverManager.getConnection("jdbc:derby:;shutdown=true");
      } catch (SQLException end) {
        if (!"XJ015".equals(end.getSQLState())) throw end;  // how Derby says that it has ended well
      }
    }
  }
}
