from django.urls import path

from apps.pages import views

app_name = "pages"
urlpatterns = [
    path("", views.home, name="home"),
    path("dashboard/", views.dashboard, name="dashboard"),
    path("dashboard/count/", views.count_again, name="count_again"),
]
